// ThreadQueue: an IoQueue of one thread that calls pread and pwrite, for where io_uring is refused.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "plugins/disk/io_queue.h"

namespace capstan::disk {

class ThreadQueue final : public IoQueue {
 public:
  explicit ThreadQueue(RequestHandler& handler);  // `handler` outlives the queue
  ~ThreadQueue() override;

  void Submit(capstan_request* request) override;
  void Drain() override;
  bool uses_io_uring() const override { return false; }

 private:
  void Run();
  void Carry(capstan_request* request);

  RequestHandler& handler_;

  std::mutex mutex_;
  // Guarded by mutex_.
  std::condition_variable changed_;
  std::deque<capstan_request*> requests_;  // the front is being carried out
  bool stopping_ = false;

  std::jthread worker_;  // last: joined before the rest goes
};

}  // namespace capstan::disk
