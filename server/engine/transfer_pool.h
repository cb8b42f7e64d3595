// TransferPool: the transfer buffers of a backup, shared by all readers and all devices (S1-02,
// S1-03).
//
// A buffer is free, with one reader, or in flight on one device; it becomes free again only when
// its write has completed (S1-05). Threads: any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/server_device_set.h"

namespace capstan::engine {

struct TransferBuffer {
  // What is to be done with the first `size` bytes, and who hears of it.
  struct Transfer {
    vdi::CommandCode code = vdi::CommandCode::kWrite;
    std::uint32_t size = 0;                                  // bytes
    std::uint64_t position = 0;                              // in the medium
    void (*on_done)(vdi::ServerCommand* command) = nullptr;  // its context is the buffer
    void* sender = nullptr;                                  // what `on_done` finds as the owner
  };
  // Makes the commands ready, one for each of so many devices. REQUIRES: nothing is in flight.
  void Prepare(const Transfer& transfer, std::size_t devices = 1);
  vdi::ServerCommand& command() { return commands.front(); }
  const vdi::ServerCommand& command() const { return commands.front(); }

  std::span<std::byte> data;
  // The one read or write that this buffer is used for; of mirrors, the same write to each.
  std::vector<vdi::ServerCommand> commands = std::vector<vdi::ServerCommand>(1);
  std::atomic<std::size_t> awaited{0};  // of those writes, not completed
  void* owner = nullptr;
};

class TransferPool {
 public:
  // Takes `count` buffers of `transfer_size` bytes from the set, which must outlive the pool.
  static Result<std::unique_ptr<TransferPool>> Create(vdi::ServerDeviceSet& set,
                                                      std::uint32_t count,
                                                      std::uint32_t transfer_size);
  TransferPool(const TransferPool&) = delete;
  TransferPool& operator=(const TransferPool&) = delete;

  // Waits until a buffer is free. Null once the pool is stopped. The wait is bounded by the job's
  // monitor, which stops the pool when devices stall, when the job fails and when it is cancelled.
  TransferBuffer* Take() CAPSTAN_EXCLUDES(mutex_);
  void Return(TransferBuffer* buffer) CAPSTAN_EXCLUDES(mutex_);

  // True when every buffer is free, waiting at most `patience` for it.
  bool WaitIdle(std::chrono::milliseconds patience) CAPSTAN_EXCLUDES(mutex_);

  // Every Take, also those that wait now, returns null from here on.
  void Stop() CAPSTAN_EXCLUDES(mutex_);

  std::size_t size() const { return buffers_.size(); }
  // Nanoseconds that readers have waited for a free buffer, all together.
  std::uint64_t waited_ns() const CAPSTAN_EXCLUDES(mutex_);

 private:
  TransferPool() = default;

  std::vector<TransferBuffer> buffers_;  // constant after Create

  mutable Mutex mutex_;
  CondVar freed_;
  CondVar idle_;
  std::vector<TransferBuffer*> free_ CAPSTAN_GUARDED_BY(mutex_);
  bool stopped_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::uint64_t waited_ns_ CAPSTAN_GUARDED_BY(mutex_) = 0;
};

}  // namespace capstan::engine
