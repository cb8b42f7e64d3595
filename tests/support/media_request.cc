#include "tests/support/media_request.h"

#include <chrono>

#include "vdi/base/check.h"

namespace capstan::test {

MediaBuffer::MediaBuffer(std::size_t size, unsigned seed)
    : bytes_(static_cast<std::byte*>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096)),
             &std::free),
      size_(size) {
  for (std::size_t index = 0; index < size; ++index) {
    bytes_.get()[index] = static_cast<std::byte>(seed * 131 + index * 7 + index / 4096);
  }
}

MediaRequest::MediaRequest() {
  request.struct_size = sizeof(request);
  request.complete = OnComplete;
  request.context = this;
}

void MediaRequest::OnComplete(capstan_request* request) {
  auto& self = *static_cast<MediaRequest*>(request->context);
  const MutexLock lock(self.mutex_);
  self.completed_ = true;
  self.changed_.NotifyAll();
}

Status MediaRequest::Submit(agent::MediaDevice& device, std::int32_t op) {
  request.op = op;
  return device.Submit(&request);
}

Status MediaRequest::Write(agent::MediaDevice& device, std::int64_t position,
                           std::span<const std::byte> bytes) {
  request.buffer = const_cast<std::byte*>(bytes.data());
  request.size = static_cast<std::uint32_t>(bytes.size());
  request.position = position;
  return Submit(device, CAPSTAN_OP_WRITE);
}

Status MediaRequest::Read(agent::MediaDevice& device, std::int64_t position,
                          std::span<std::byte> bytes) {
  request.buffer = bytes.data();
  request.size = static_cast<std::uint32_t>(bytes.size());
  request.position = position;
  return Submit(device, CAPSTAN_OP_READ);
}

const capstan_request& MediaRequest::Wait() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const MutexLock lock(mutex_);
  while (!completed_) {
    CAPSTAN_CHECK(changed_.WaitUntil(mutex_, deadline) || completed_);
  }
  return request;
}

std::uint32_t RunRequest(agent::MediaDevice& device, std::int32_t op) {
  MediaRequest request;
  CAPSTAN_CHECK(request.Submit(device, op).ok());
  return request.Wait().completion_code;
}

std::uint32_t WriteBytes(agent::MediaDevice& device, std::int64_t position,
                         std::span<const std::byte> bytes) {
  MediaRequest request;
  CAPSTAN_CHECK(request.Write(device, position, bytes).ok());
  return request.Wait().completion_code;
}

}  // namespace capstan::test
