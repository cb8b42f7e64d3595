// Requests to a MediaDevice that a test can wait for, and buffers fit for direct I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "agent/media_plugin.h"
#include "vdi/base/mutex.h"

namespace capstan::test {

// Page-aligned bytes, filled with a pattern that depends on `seed` and on the place.
class MediaBuffer {
 public:
  explicit MediaBuffer(std::size_t size, unsigned seed = 0);
  std::byte* data() const { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> bytes_;
  std::size_t size_;
};

// One request. It must not go before it completed.
class MediaRequest {
 public:
  MediaRequest();
  MediaRequest(const MediaRequest&) = delete;
  MediaRequest& operator=(const MediaRequest&) = delete;

  Status Submit(agent::MediaDevice& device, std::int32_t op);
  Status Write(agent::MediaDevice& device, std::int64_t position, std::span<const std::byte> bytes);
  Status Read(agent::MediaDevice& device, std::int64_t position, std::span<std::byte> bytes);

  // Waits, at most ten seconds; a request that takes longer fails the test and ends the process.
  const capstan_request& Wait() CAPSTAN_EXCLUDES(mutex_);

  capstan_request request{};

 private:
  static void OnComplete(capstan_request* request);

  Mutex mutex_;
  CondVar changed_;
  bool completed_ CAPSTAN_GUARDED_BY(mutex_) = false;
};

// Submit and Wait in one; the completion code.
std::uint32_t RunRequest(agent::MediaDevice& device, std::int32_t op);
std::uint32_t WriteBytes(agent::MediaDevice& device, std::int64_t position,
                         std::span<const std::byte> bytes);

}  // namespace capstan::test
