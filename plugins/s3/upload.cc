#include "plugins/s3/upload.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "plugins/s3/digest.h"

namespace capstan::s3 {
namespace {

constexpr int kTriesMax = 3;  // of a part that comes out different
constexpr std::size_t kMd5Digits = 32;

// With some kinds of encryption at rest the ETag is no MD5, and says so.
bool IsMd5(const HttpAnswer& answer, std::string_view etag) {
  const std::string encryption = answer.Header("x-amz-server-side-encryption");
  return etag.size() == kMd5Digits && encryption.substr(0, 7) != "aws:kms" &&
         answer.Header("x-amz-server-side-encryption-customer-algorithm").empty() &&
         std::all_of(etag.begin(), etag.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string WithoutQuotes(const std::string& etag) {
  const bool quoted = etag.size() >= 2 && etag.front() == '"' && etag.back() == '"';
  return quoted ? etag.substr(1, etag.size() - 2) : etag;
}

}  // namespace

struct Upload::Part {
  std::uint32_t number;
  std::span<const std::byte> bytes;
  Md5Bytes md5;
  Done done;
  int tries = 0;
};

void Upload::SendPart(std::uint32_t number, std::span<const std::byte> bytes, Done done) {
  Send(std::make_shared<Part>(Part{number, bytes, Md5(bytes), std::move(done)}));
}

void Upload::Send(const std::shared_ptr<Part>& part) {
  ++part->tries;
  store_.client().Start({.method = "PUT",
                         .key = key_,
                         .query = {{"partNumber", std::to_string(part->number)}, {"uploadId", id_}},
                         .body = part->bytes,
                         .content_md5 = Base64Of(part->md5)},
                        [this, part](ObjectAnswer answer) { Check(part, std::move(answer)); });
}

void Upload::Check(const std::shared_ptr<Part>& part, ObjectAnswer answer) {
  Failure failure = answer.failure;
  const std::string etag = answer.http.Header("etag");
  const std::string digits = WithoutQuotes(etag);
  if (!failure.failed() && IsMd5(answer.http, digits) && digits != HexOf(part->md5)) {
    if (part->tries < kTriesMax) {
      Send(part);
      return;
    }
    failure = Failure::Of(EBADMSG, "part " + std::to_string(part->number) + " of '" + key_ +
                                       "' came out different at the server: its MD5 is " + digits +
                                       ", not " + HexOf(part->md5));
  }
  if (!failure.failed()) {
    const std::lock_guard lock(mutex_);
    sent_[part->number] = {.number = part->number,
                           .size = static_cast<std::int64_t>(part->bytes.size()),
                           .etag = etag};
  }
  part->done(std::move(failure));
}

bool Upload::has_parts() {
  const std::lock_guard lock(mutex_);
  return !sent_.empty();
}

Failure Upload::Complete(const std::vector<NameValue>& headers) {
  std::vector<UploadedPart> parts;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, part] : sent_) {
      parts.push_back(part);
    }
  }
  return store_.CompleteUpload(key_, id_, parts, headers);
}

}  // namespace capstan::s3
