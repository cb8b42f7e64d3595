#include "plugins/s3/server_error.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <pugixml.hpp>

namespace capstan::s3 {
namespace {

constexpr long kOkMin = 200;
constexpr long kOkMax = 299;

// What a code means for us. `advice` may hold "{b}", the bucket.
struct Meaning {
  std::string_view code;
  int os_error;
  std::string_view advice;
};
constexpr std::string_view kCheckKey = "check the credential for s3://{b}";
constexpr std::string_view kCheckRights =
    "the key has no right to do this in bucket '{b}', or what is there is locked";
constexpr std::string_view kSetRegion = "set region and endpoint of s3://{b} in s3.toml";
constexpr std::array kMeanings = {
    Meaning{"SignatureDoesNotMatch", EKEYREJECTED, kCheckKey},
    Meaning{"InvalidAccessKeyId", EKEYREJECTED, kCheckKey},
    Meaning{"ExpiredToken", EKEYEXPIRED, kCheckKey},
    Meaning{"InvalidToken", EKEYREJECTED, kCheckKey},
    Meaning{"AccessDenied", EACCES, kCheckRights},
    Meaning{"NoSuchBucket", ENOENT, "create bucket '{b}' first, or name another"},
    Meaning{"NoSuchKey", ENOENT, ""},
    Meaning{"NoSuchUpload", ENOENT, ""},
    Meaning{"NotFound", ENOENT, ""},
    Meaning{"RequestTimeTooSkewed", ETIME, "set the clock of this host"},
    Meaning{"PermanentRedirect", EREMCHG, kSetRegion},
    Meaning{"TemporaryRedirect", EREMCHG, kSetRegion},
    Meaning{"AuthorizationHeaderMalformed", EREMCHG, kSetRegion},
    Meaning{"EntityTooLarge", EFBIG, ""},
    Meaning{"QuotaExceeded", EDQUOT, "raise the quota of the user or of bucket '{b}'"},
    Meaning{"InsufficientStorage", ENOSPC, ""},
    Meaning{"PreconditionFailed", ESTALE, ""},
    Meaning{"NotImplemented", ENOTSUP, ""},
};

struct StatusMeaning {
  long status;
  std::string_view code;
};
// For answers without a body, as those to HEAD.
constexpr std::array kStatusMeanings = {
    StatusMeaning{301, "PermanentRedirect"},  StatusMeaning{307, "TemporaryRedirect"},
    StatusMeaning{403, "AccessDenied"},       StatusMeaning{404, "NotFound"},
    StatusMeaning{412, "PreconditionFailed"}, StatusMeaning{501, "NotImplemented"},
    StatusMeaning{507, "InsufficientStorage"}};

constexpr std::array<long, 7> kTransientStatuses = {408, 429, 500, 502, 503, 504, 509};
constexpr std::array<std::string_view, 6> kTransientCodes = {
    "SlowDown", "InternalError",  "ServiceUnavailable",
    "Busy",     "RequestTimeout", "OperationAborted"};
constexpr std::array<std::string_view, 3> kDamageCodes = {"BadDigest", "IncompleteBody",
                                                          "XAmzContentSHA256Mismatch"};

template <typename List, typename Value>
bool Contains(const List& list, const Value& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

Meaning MeaningOf(std::string_view code) {
  const auto found = std::find_if(kMeanings.begin(), kMeanings.end(),
                                  [&](const Meaning& meaning) { return meaning.code == code; });
  return found == kMeanings.end() ? Meaning{code, EREMOTEIO, ""} : *found;
}

std::string_view CodeOfStatus(long status) {
  for (const StatusMeaning& meaning : kStatusMeanings) {
    if (meaning.status == status) {
      return meaning.code;
    }
  }
  return "";
}

std::string AdviceOf(const Meaning& meaning, const ServerError& error, const HttpAnswer& answer,
                     const std::string& bucket) {
  if (meaning.os_error == EREMCHG && !error.region.empty()) {
    return "set region = \"" + error.region + "\" for s3://" + bucket + " in s3.toml";
  }
  std::string advice(meaning.advice);
  if (const std::size_t place = advice.find("{b}"); place != std::string::npos) {
    advice.replace(place, std::strlen("{b}"), bucket);
  }
  if (meaning.os_error == ETIME) {
    advice += "; it is now " + answer.Header("date") + " at the server";
  }
  return advice;
}

Failure TransportFailure(const HttpAnswer& answer, const std::string& what) {
  switch (answer.transport) {
    case HttpAnswer::Transport::kUntrusted:
      return Failure::Of(EKEYREJECTED, what + " fails: " + answer.transport_error,
                         "name the authority of the server's certificate with ca_file in s3.toml");
    case HttpAnswer::Transport::kImpossible:
      return Failure::Of(EINVAL, what + " fails: " + answer.transport_error);
    case HttpAnswer::Transport::kCancelled:
      return Failure::Of(ECANCELED, what + " was broken off");
    default:
      return Failure::Of(ETIMEDOUT, what + " fails: " + answer.transport_error,
                         "see whether the server runs and is reachable from this host; to wait for "
                         "it longer, raise retry_for_s")
          .MayPass();
  }
}

}  // namespace

ServerError ParseServerError(const HttpAnswer& answer) {
  ServerError error;
  error.region = answer.Header("x-amz-bucket-region");
  error.request_id = answer.Header("x-amz-request-id");
  pugi::xml_document document;
  if (document.load_buffer(answer.text.data(), answer.text.size())) {
    const pugi::xml_node root = document.child("Error");
    error.code = root.child_value("Code");
    error.message = root.child_value("Message");
    const std::string region = root.child_value("Region");
    error.region = region.empty() ? error.region : region;
  }
  return error;
}

Verdict VerdictOn(const HttpAnswer& answer, const ServerError& error) {
  if (answer.transport != HttpAnswer::Transport::kAnswered) {
    return answer.transport == HttpAnswer::Transport::kFailed ? Verdict::kRetry : Verdict::kFail;
  }
  if (answer.status >= kOkMin && answer.status <= kOkMax && error.code.empty()) {
    return Verdict::kTake;
  }
  if (Contains(kTransientStatuses, answer.status) || Contains(kTransientCodes, error.code)) {
    return Verdict::kRetry;
  }
  return Contains(kDamageCodes, error.code) ? Verdict::kAgain : Verdict::kFail;
}

Failure FailureOf(const HttpAnswer& answer, const ServerError& error, const std::string& what,
                  const std::string& bucket) {
  if (answer.transport != HttpAnswer::Transport::kAnswered) {
    return TransportFailure(answer, what);
  }
  const Meaning meaning =
      MeaningOf(error.code.empty() ? CodeOfStatus(answer.status) : std::string_view(error.code));
  std::string words = "HTTP status " + std::to_string(answer.status);
  if (!error.code.empty()) {
    words = error.code + (error.message.empty() ? "" : ": " + error.message);
  }
  Failure failure = Failure::Of(meaning.os_error, what + " fails: " + words,
                                AdviceOf(meaning, error, answer, bucket));
  failure.transient = VerdictOn(answer, error) != Verdict::kFail;
  return failure;
}

}  // namespace capstan::s3
