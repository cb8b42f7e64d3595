// ObjectStore: what we ask of a bucket, one function per operation of S3, XML taken apart.
//
// Threads: any. Each call waits for the server; it fails as ObjectClient does.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "plugins/s3/object_client.h"

namespace capstan::s3 {

struct ObjectInfo {
  bool exists = false;
  std::int64_t size = 0;
  std::string etag;   // with its quotes
  std::string token;  // x-amz-meta-capstan-token; empty: not made by us
  std::int64_t modified_unix_s = 0;
  std::string lock_mode;  // "COMPLIANCE", "GOVERNANCE"; empty: not locked, as far as we may know
  std::int64_t locked_until_unix_s = 0;
};

// A key is what it was listed under, up to the last '/', and a tail.
struct ListedObject {
  std::string tail;
  std::int64_t size = 0;
  std::string etag;
  std::int64_t modified_unix_s = 0;
};

// One that is not complete.
struct ListedUpload {
  std::string key;
  std::string id;
  std::int64_t begun_unix_s = 0;
};

struct UploadedPart {
  std::uint32_t number = 0;
  std::int64_t size = 0;
  std::string etag;  // with its quotes
};

class ObjectStore {
 public:
  static Failure Open(HttpClient& http, const MediumUrl& url, std::unique_ptr<ObjectStore>* result);

  ObjectClient& client() { return *client_; }
  const Settings& settings() const { return client_->settings(); }

  // A key that is not there is no failure; a bucket that is not there is one.
  Failure Head(const std::string& key, ObjectInfo* info);
  // *now: the server's clock, seconds since 1970. May be null.
  Failure List(const std::string& prefix, std::vector<ListedObject>* objects, std::int64_t* now);
  Failure Put(const std::string& key, const std::string& text,
              const std::vector<NameValue>& headers = {});
  // The answer comes later; nothing has to be waited for.
  std::future<Failure> StartPut(const std::string& key, std::string text);
  // ENOENT if there is none. *modified_unix_s: by the server's clock; may be null.
  Failure Get(const std::string& key, std::string* text, std::int64_t* modified_unix_s = nullptr);
  // Fine if there is none.
  Failure Delete(const std::string& key);

  Failure CreateUpload(const std::string& key, const std::vector<NameValue>& headers,
                       std::string* upload_id);
  // ENOENT: there is no such upload (any more).
  Failure ListParts(const std::string& key, const std::string& upload_id,
                    std::vector<UploadedPart>* parts);
  // ENOENT: there is no such upload (any more). `parts` in the order of their numbers.
  Failure CompleteUpload(const std::string& key, const std::string& upload_id,
                         const std::vector<UploadedPart>& parts,
                         const std::vector<NameValue>& headers = {});
  // Fine if there is none.
  Failure AbortUpload(const std::string& key, const std::string& upload_id);
  // Of all keys that begin with `prefix`.
  Failure ListUploads(const std::string& prefix, std::vector<ListedUpload>* uploads);

  // Sees to it that the object is locked that long: not all servers heed what an upload began with.
  Failure EnsureLocked(const std::string& key, const std::string& mode, std::int64_t until_unix_s);

  // ENOTSUP: nothing in the bucket can be locked.
  Failure CheckObjectLock();

 private:
  explicit ObjectStore(std::unique_ptr<ObjectClient> client) : client_(std::move(client)) {}

  std::unique_ptr<ObjectClient> client_;
};

inline constexpr const char* kTokenHeader = "x-amz-meta-capstan-token";

// "2026-11-21T18:38:59.000Z" or "Sat, 21 Nov 2026 18:38:59 GMT"; 0 if it is neither.
std::int64_t ParseTime(const std::string& text);

}  // namespace capstan::s3
