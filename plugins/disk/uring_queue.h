// UringQueue: an IoQueue on io_uring with one reaper thread.
//
// Requests wait in a FIFO until the ring has room; an operation that is not a transfer waits at its
// front until the ring is empty and then runs on the reaper, which keeps the order that IoQueue
// promises. The submission side of the ring belongs to mutex_, its completion side to the reaper.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <liburing.h>

#include "plugins/disk/io_queue.h"

namespace capstan::disk {

class UringQueue final : public IoQueue {
 public:
  // Null where the kernel refuses io_uring (absent, switched off, filtered, no memory) or lacks
  // what we use of it (before Linux 5.11). `handler` outlives the queue.
  static std::unique_ptr<UringQueue> Create(RequestHandler& handler, std::uint32_t depth);
  ~UringQueue() override;

  void Submit(capstan_request* request) override;
  void Drain() override;
  bool uses_io_uring() const override { return true; }

 private:
  UringQueue(RequestHandler& handler, io_uring ring, std::uint32_t depth);

  // These three with mutex_ held.
  void Pump();
  void PrepareTransfer(Transfer* transfer);
  void PrepareWake(void* marker);
  void FlushSubmissions();

  void Reap();
  bool Handle(void* data, int result);
  void HandleTransfer(Transfer* transfer, int result);
  void HandleControl();

  RequestHandler& handler_;
  io_uring ring_;
  // Distinct addresses that mark completions which belong to no transfer.
  char control_marker_ = 0;
  char stop_marker_ = 0;

  std::mutex mutex_;
  // Guarded by mutex_.
  std::condition_variable idle_;
  std::vector<Transfer> transfers_;  // as many as may be in flight; never resized
  std::vector<Transfer*> free_;      // of transfers_
  std::deque<capstan_request*> waiting_;
  capstan_request* control_ = nullptr;  // runs, or is about to, on the reaper

  std::jthread reaper_;
};

}  // namespace capstan::disk
