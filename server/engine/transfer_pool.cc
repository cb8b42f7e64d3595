#include "server/engine/transfer_pool.h"

#include "vdi/base/clock.h"

namespace capstan::engine {

void TransferBuffer::Prepare(const Transfer& transfer, std::size_t devices) {
  commands.resize(devices);
  for (vdi::ServerCommand& command : commands) {
    command.code = transfer.code;
    command.size = transfer.size;
    command.position = static_cast<std::int64_t>(transfer.position);
    command.buffer = data.data();
    command.completion_routine = transfer.on_done;
    command.completion_context = this;
  }
  awaited.store(devices, std::memory_order_relaxed);  // sending makes it known
  owner = transfer.sender;
}

Result<std::unique_ptr<TransferPool>> TransferPool::Create(vdi::ServerDeviceSet& set,
                                                           std::uint32_t count,
                                                           std::uint32_t transfer_size) {
  std::unique_ptr<TransferPool> pool(new TransferPool);
  pool->buffers_ = std::vector<TransferBuffer>(count);
  MutexLock lock(pool->mutex_);
  pool->free_.reserve(count);
  for (TransferBuffer& buffer : pool->buffers_) {
    CAPSTAN_ASSIGN_OR_RETURN(std::byte * data, set.AllocateBuffer(transfer_size, 0));
    buffer.data = std::span(data, transfer_size);
    pool->free_.push_back(&buffer);
  }
  return pool;
}

TransferBuffer* TransferPool::Take() {
  MutexLock lock(mutex_);
  if (free_.empty() && !stopped_) {
    const std::uint64_t since = MonotonicNanos();
    while (free_.empty() && !stopped_) {
      freed_.Wait(mutex_);
    }
    waited_ns_ += MonotonicNanos() - since;
  }
  if (stopped_) {
    return nullptr;
  }
  // Last in, first out: the buffer that was used last is the one that the caches still hold.
  TransferBuffer* buffer = free_.back();
  free_.pop_back();
  return buffer;
}

void TransferPool::Return(TransferBuffer* buffer) {
  {
    MutexLock lock(mutex_);
    free_.push_back(buffer);
    if (free_.size() == buffers_.size()) {
      idle_.NotifyAll();
    }
  }
  freed_.NotifyOne();
}

bool TransferPool::WaitIdle(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  MutexLock lock(mutex_);
  while (free_.size() != buffers_.size()) {
    if (!idle_.WaitUntil(mutex_, deadline)) {
      return free_.size() == buffers_.size();
    }
  }
  return true;
}

void TransferPool::Stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
  }
  freed_.NotifyAll();
}

std::uint64_t TransferPool::waited_ns() const {
  MutexLock lock(mutex_);
  return waited_ns_;
}

}  // namespace capstan::engine
