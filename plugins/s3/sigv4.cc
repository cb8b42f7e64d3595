#include "plugins/s3/sigv4.h"

#include <algorithm>
#include <ctime>
#include <string_view>

#include "plugins/s3/digest.h"
#include "plugins/s3/medium_url.h"

namespace capstan::s3 {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::size_t kDateSize = 8;  // of a timestamp

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return text;
}

// Blanks at both ends go, those in a row become one.
std::string TrimmedValue(const std::string& value) {
  std::string result;
  for (const char c : value) {
    const bool blank = c == ' ' || c == '\t';
    if (!blank) {
      result += c;
    } else if (!result.empty() && result.back() != ' ') {
      result += ' ';
    }
  }
  if (!result.empty() && result.back() == ' ') {
    result.pop_back();
  }
  return result;
}

// By name; the values of one name stay in order, joined by commas.
std::vector<NameValue> CanonicalHeaders(const SignedRequest& request) {
  std::vector<NameValue> headers;
  for (const auto& [name, value] : request.headers) {
    headers.emplace_back(LowerCase(name), TrimmedValue(value));
  }
  std::stable_sort(headers.begin(), headers.end(),
                   [](const NameValue& a, const NameValue& b) { return a.first < b.first; });
  std::vector<NameValue> joined;
  for (NameValue& header : headers) {
    if (!joined.empty() && joined.back().first == header.first) {
      joined.back().second += "," + header.second;
    } else {
      joined.push_back(std::move(header));
    }
  }
  return joined;
}

std::string SignedHeaderNames(const SignedRequest& request) {
  std::string names;
  for (const auto& [name, value] : CanonicalHeaders(request)) {
    names += (names.empty() ? "" : ";") + name;
  }
  return names;
}

std::string ScopeText(const SigningScope& scope) {
  return scope.timestamp.substr(0, kDateSize) + "/" + scope.region + "/" + scope.service +
         "/aws4_request";
}

std::string FormattedTime(std::time_t seconds, const char* format) {
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof(text), format, &parts)};
}

std::string_view TextOf(const Sha256Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string TimestampOf(std::chrono::system_clock::time_point when) {
  return FormattedTime(std::chrono::system_clock::to_time_t(when), "%Y%m%dT%H%M%SZ");
}

std::string UtcText(std::int64_t unix_s) {
  return FormattedTime(static_cast<std::time_t>(unix_s), "%Y-%m-%dT%H:%M:%SZ");
}

std::string QueryText(const std::vector<NameValue>& query) {
  std::vector<NameValue> encoded;
  for (const auto& [name, value] : query) {
    encoded.emplace_back(EncodeUriPart(name), EncodeUriPart(value));
  }
  std::sort(encoded.begin(), encoded.end());
  std::string text;
  for (const auto& [name, value] : encoded) {
    text += (text.empty() ? "" : "&") + name + "=" + value;
  }
  return text;
}

std::string CanonicalRequestOf(const SignedRequest& request) {
  std::string text =
      request.method + "\n" + EncodeUriPath(request.path) + "\n" + QueryText(request.query) + "\n";
  for (const auto& [name, value] : CanonicalHeaders(request)) {
    text += name + ":" + value + "\n";
  }
  return text + "\n" + SignedHeaderNames(request) + "\n" + request.payload_hash;
}

std::string SignatureOf(const SignedRequest& request, const SigningScope& scope,
                        const Credentials& credentials) {
  const std::string text = std::string(kAlgorithm) + "\n" + scope.timestamp + "\n" +
                           ScopeText(scope) + "\n" + HexOf(Sha256(CanonicalRequestOf(request)));
  Sha256Bytes key =
      HmacSha256("AWS4" + credentials.secret_key, scope.timestamp.substr(0, kDateSize));
  for (const std::string_view part :
       {std::string_view(scope.region), std::string_view(scope.service),
        std::string_view("aws4_request")}) {
    key = HmacSha256(TextOf(key), part);
  }
  return HexOf(HmacSha256(TextOf(key), text));
}

std::string AuthorizationOf(const SignedRequest& request, const SigningScope& scope,
                            const Credentials& credentials) {
  return std::string(kAlgorithm) + " Credential=" + credentials.access_key + "/" +
         ScopeText(scope) + ", SignedHeaders=" + SignedHeaderNames(request) +
         ", Signature=" + SignatureOf(request, scope, credentials);
}

}  // namespace capstan::s3
