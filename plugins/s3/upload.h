// Upload: one object on its way to the server, part by part, until it is complete or aborted.
//
// A part goes with its MD5, which the server checks against what arrives, and the ETag that it
// answers is checked against the same; a part that comes out different is sent again.
// Threads: any. Outlives the parts that are being sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "plugins/s3/object_store.h"

namespace capstan::s3 {

class Upload {
 public:
  using Done = std::function<void(Failure)>;

  Upload(ObjectStore& store, std::string key, std::string id)
      : store_(store), key_(std::move(key)), id_(std::move(id)) {}

  const std::string& key() const { return key_; }
  const std::string& id() const { return id_; }

  // Sends a part, or another one in its place; `bytes` are borrowed until `done`, which is called
  // on the HttpClient's thread.
  void SendPart(std::uint32_t number, std::span<const std::byte> bytes, Done done);

  bool has_parts();  // that were sent well

  // REQUIRES: every part was sent well.
  Failure Complete(const std::vector<NameValue>& headers);

 private:
  struct Part;
  void Send(const std::shared_ptr<Part>& part);
  void Check(const std::shared_ptr<Part>& part, ObjectAnswer answer);

  ObjectStore& store_;
  const std::string key_;
  const std::string id_;

  std::mutex mutex_;
  std::map<std::uint32_t, UploadedPart> sent_;  // guarded by mutex_
};

}  // namespace capstan::s3
