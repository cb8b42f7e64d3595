#include "plugins/s3/object_store.h"

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <span>
#include <utility>

#include <pugixml.hpp>

#include "plugins/s3/digest.h"

namespace capstan::s3 {
namespace {

constexpr long kNotFound = 404;
// Servers assemble an object before they answer.
constexpr std::chrono::seconds kAssemblyTime{600};
constexpr int kPagesMax = 100'000;  // of a listing; a server that never ends is broken

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::int64_t NumberOf(const char* text) {
  return std::strtoll(text, nullptr, 10);
}

// Some servers encode the slashes, too.
std::string TailOf(const std::string& encoded_key) {
  const std::string key = DecodeUri(encoded_key);
  return key.substr(key.rfind('/') + 1);
}

Failure Parse(const ObjectAnswer& answer, const char* root, pugi::xml_document* document) {
  if (!document->load_buffer(answer.http.text.data(), answer.http.text.size()) ||
      !document->child(root)) {
    return Failure::Of(
        EPROTO, "the server's answer is no " + std::string(root) + "; is that an S3 server?");
  }
  return Failure::None();
}

}  // namespace

std::int64_t ParseTime(const std::string& text) {
  for (const char* const format : {"%Y-%m-%dT%H:%M:%S", "%a, %d %b %Y %H:%M:%S"}) {
    std::tm parts{};
    if (::strptime(text.c_str(), format, &parts) != nullptr) {
      return ::timegm(&parts);
    }
  }
  return 0;
}

Failure ObjectStore::Open(HttpClient& http, const MediumUrl& url,
                          std::unique_ptr<ObjectStore>* result) {
  std::unique_ptr<ObjectClient> client;
  if (Failure failure = ObjectClient::Create(http, url, &client); failure.failed()) {
    return failure;
  }
  result->reset(new ObjectStore(std::move(client)));
  return Failure::None();
}

Failure ObjectStore::Head(const std::string& key, ObjectInfo* info) {
  const ObjectAnswer answer = client_->Run({.method = "HEAD", .key = key});
  *info = {};
  if (answer.http.transport != HttpAnswer::Transport::kAnswered) {
    return answer.failure;
  }
  if (answer.failure.failed()) {
    // An answer to HEAD has no words. Those of a listing tell a missing key from a missing bucket.
    std::vector<ListedObject> ignored;
    if (Failure failure = List(key, &ignored, nullptr); failure.failed()) {
      return failure;
    }
    return answer.http.status == kNotFound ? Failure::None() : answer.failure;
  }
  info->exists = true;
  info->size = NumberOf(answer.http.Header("content-length").c_str());
  info->etag = answer.http.Header("etag");
  info->token = answer.http.Header(kTokenHeader);
  info->modified_unix_s = ParseTime(answer.http.Header("last-modified"));
  info->lock_mode = answer.http.Header("x-amz-object-lock-mode");
  info->locked_until_unix_s = ParseTime(answer.http.Header("x-amz-object-lock-retain-until-date"));
  return Failure::None();
}

Failure ObjectStore::List(const std::string& prefix, std::vector<ListedObject>* objects,
                          std::int64_t* now) {
  std::string continuation;
  for (int page = 0; page < kPagesMax; ++page) {
    ObjectRequest request{
        .method = "GET",
        .query = {{"list-type", "2"}, {"prefix", prefix}, {"encoding-type", "url"}}};
    if (!continuation.empty()) {
      request.query.emplace_back("continuation-token", continuation);
    }
    const ObjectAnswer answer = client_->Run(std::move(request));
    pugi::xml_document document;
    Failure failure = answer.failure;
    if (!failure.failed()) {
      failure = Parse(answer, "ListBucketResult", &document);
    }
    if (failure.failed()) {
      return failure;
    }
    const pugi::xml_node root = document.child("ListBucketResult");
    for (const pugi::xml_node entry : root.children("Contents")) {
      objects->push_back({.tail = TailOf(entry.child_value("Key")),
                          .size = NumberOf(entry.child_value("Size")),
                          .etag = entry.child_value("ETag"),
                          .modified_unix_s = ParseTime(entry.child_value("LastModified"))});
    }
    if (now != nullptr) {
      *now = ParseTime(answer.http.Header("date"));
    }
    continuation = root.child_value("NextContinuationToken");
    if (std::string(root.child_value("IsTruncated")) != "true" || continuation.empty()) {
      return Failure::None();
    }
  }
  return Failure::Of(EPROTO, "the server's listing of '" + prefix + "' does not end");
}

Failure ObjectStore::Put(const std::string& key, const std::string& text,
                         const std::vector<NameValue>& headers) {
  return client_
      ->Run({.method = "PUT",
             .key = key,
             .headers = headers,
             .body = BytesOf(text),
             .content_md5 = Base64Of(Md5(BytesOf(text)))})
      .failure;
}

std::future<Failure> ObjectStore::StartPut(const std::string& key, std::string text) {
  const auto body = std::make_shared<const std::string>(std::move(text));
  const auto promise = std::make_shared<std::promise<Failure>>();
  client_->Start(
      {.method = "PUT",
       .key = key,
       .body = BytesOf(*body),
       .content_md5 = Base64Of(Md5(BytesOf(*body)))},
      [body, promise](const ObjectAnswer& answer) { promise->set_value(answer.failure); });
  return promise->get_future();
}

Failure ObjectStore::Get(const std::string& key, std::string* text, std::int64_t* modified_unix_s) {
  ObjectAnswer answer = client_->Run({.method = "GET", .key = key});
  if (modified_unix_s != nullptr) {
    *modified_unix_s = ParseTime(answer.http.Header("last-modified"));
  }
  *text = std::move(answer.http.text);
  return answer.failure;
}

Failure ObjectStore::Delete(const std::string& key) {
  const ObjectAnswer answer = client_->Run({.method = "DELETE", .key = key});
  return answer.http.status == kNotFound && answer.error.code != "NoSuchBucket" ? Failure::None()
                                                                                : answer.failure;
}

Failure ObjectStore::CreateUpload(const std::string& key, const std::vector<NameValue>& headers,
                                  std::string* upload_id) {
  const ObjectAnswer answer =
      client_->Run({.method = "POST", .key = key, .query = {{"uploads", ""}}, .headers = headers});
  pugi::xml_document document;
  Failure failure = answer.failure;
  if (!failure.failed()) {
    failure = Parse(answer, "InitiateMultipartUploadResult", &document);
  }
  if (!failure.failed()) {
    *upload_id = document.first_child().child_value("UploadId");
    if (upload_id->empty()) {
      failure = Failure::Of(EPROTO, "the server began an upload without an id");
    }
  }
  return failure;
}

Failure ObjectStore::ListParts(const std::string& key, const std::string& upload_id,
                               std::vector<UploadedPart>* parts) {
  std::string marker;
  for (int page = 0; page < kPagesMax; ++page) {
    ObjectRequest request{.method = "GET", .key = key, .query = {{"uploadId", upload_id}}};
    if (!marker.empty()) {
      request.query.emplace_back("part-number-marker", marker);
    }
    const ObjectAnswer answer = client_->Run(std::move(request));
    pugi::xml_document document;
    Failure failure = answer.failure;
    if (!failure.failed()) {
      failure = Parse(answer, "ListPartsResult", &document);
    }
    if (failure.failed()) {
      return failure;
    }
    const pugi::xml_node root = document.child("ListPartsResult");
    for (const pugi::xml_node entry : root.children("Part")) {
      parts->push_back(
          {.number = static_cast<std::uint32_t>(NumberOf(entry.child_value("PartNumber"))),
           .size = NumberOf(entry.child_value("Size")),
           .etag = entry.child_value("ETag")});
    }
    marker = root.child_value("NextPartNumberMarker");
    if (std::string(root.child_value("IsTruncated")) != "true" || marker.empty()) {
      return Failure::None();
    }
  }
  return Failure::Of(EPROTO, "the server's listing of the parts of '" + key + "' does not end");
}

Failure ObjectStore::CompleteUpload(const std::string& key, const std::string& upload_id,
                                    const std::vector<UploadedPart>& parts,
                                    const std::vector<NameValue>& headers) {
  std::string body = "<CompleteMultipartUpload>";
  for (const UploadedPart& part : parts) {
    body += "<Part><PartNumber>" + std::to_string(part.number) + "</PartNumber><ETag>" + part.etag +
            "</ETag></Part>";
  }
  body += "</CompleteMultipartUpload>";
  std::vector<NameValue> all = headers;
  all.emplace_back("Content-Type", "application/xml");
  return client_
      ->Run({.method = "POST",
             .key = key,
             .query = {{"uploadId", upload_id}},
             .headers = std::move(all),
             .body = BytesOf(body),
             .thinking_time = kAssemblyTime})
      .failure;
}

Failure ObjectStore::AbortUpload(const std::string& key, const std::string& upload_id) {
  const ObjectAnswer answer =
      client_->Run({.method = "DELETE", .key = key, .query = {{"uploadId", upload_id}}});
  return answer.http.status == kNotFound && answer.error.code != "NoSuchBucket" ? Failure::None()
                                                                                : answer.failure;
}

Failure ObjectStore::ListUploads(const std::string& prefix, std::vector<ListedUpload>* uploads) {
  std::string key_marker;
  std::string id_marker;
  for (int page = 0; page < kPagesMax; ++page) {
    ObjectRequest request{.method = "GET",
                          .query = {{"uploads", ""}, {"prefix", prefix}, {"encoding-type", "url"}}};
    if (!key_marker.empty()) {
      request.query.emplace_back("key-marker", key_marker);
      request.query.emplace_back("upload-id-marker", id_marker);
    }
    const ObjectAnswer answer = client_->Run(std::move(request));
    pugi::xml_document document;
    Failure failure = answer.failure;
    if (!failure.failed()) {
      failure = Parse(answer, "ListMultipartUploadsResult", &document);
    }
    if (failure.failed()) {
      return failure;
    }
    const pugi::xml_node root = document.child("ListMultipartUploadsResult");
    for (const pugi::xml_node entry : root.children("Upload")) {
      uploads->push_back({.key = DecodeUri(entry.child_value("Key")),
                          .id = entry.child_value("UploadId"),
                          .begun_unix_s = ParseTime(entry.child_value("Initiated"))});
    }
    key_marker = DecodeUri(root.child_value("NextKeyMarker"));
    id_marker = root.child_value("NextUploadIdMarker");
    if (std::string(root.child_value("IsTruncated")) != "true" || key_marker.empty()) {
      return Failure::None();
    }
  }
  return Failure::Of(EPROTO, "the server's listing of uploads does not end");
}

Failure ObjectStore::EnsureLocked(const std::string& key, const std::string& mode,
                                  std::int64_t until_unix_s) {
  ObjectInfo info;
  Failure failure = Head(key, &info);
  if (failure.failed() || (!info.lock_mode.empty() && info.locked_until_unix_s >= until_unix_s)) {
    return failure;
  }
  const std::string body = "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>" +
                           mode + "</Mode><RetainUntilDate>" + UtcText(until_unix_s) +
                           "</RetainUntilDate></Retention>";
  return client_
      ->Run({.method = "PUT",
             .key = key,
             .query = {{"retention", ""}},
             .body = BytesOf(body),
             .content_md5 = Base64Of(Md5(BytesOf(body)))})
      .failure.Within("lock '" + key + "'");
}

Failure ObjectStore::CheckObjectLock() {
  const ObjectAnswer answer = client_->Run({.method = "GET", .query = {{"object-lock", ""}}});
  pugi::xml_document document;
  const bool enabled =
      !answer.failure.failed() && !Parse(answer, "ObjectLockConfiguration", &document).failed() &&
      std::string(document.first_child().child_value("ObjectLockEnabled")) == "Enabled";
  // Servers without locks answer with various statuses, or with a listing.
  const bool asked = answer.http.transport == HttpAnswer::Transport::kAnswered &&
                     answer.error.code != "AccessDenied" && answer.error.code != "NoSuchBucket" &&
                     !answer.failure.transient;
  if (enabled || !asked) {
    return answer.failure;
  }
  return Failure::Of(ENOTSUP, "bucket '" + client_->bucket() + "' cannot lock what is put into it",
                     "use a bucket that was created with object lock, or set object_lock = \"off\" "
                     "for s3://" +
                         client_->bucket() + " in s3.toml");
}

}  // namespace capstan::s3
