#include "plugins/disk/thread_queue.h"

#include <cerrno>

#include <unistd.h>

#include "plugins/edge/quiet_thread.h"

namespace capstan::disk {

ThreadQueue::ThreadQueue(RequestHandler& handler) : handler_(handler) {
  worker_ = edge::QuietThread([this] { Run(); });
}

ThreadQueue::~ThreadQueue() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

void ThreadQueue::Submit(capstan_request* request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  changed_.notify_all();
}

void ThreadQueue::Drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return requests_.empty(); });
}

void ThreadQueue::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !requests_.empty(); });
    if (requests_.empty()) {
      return;
    }
    capstan_request* const request = requests_.front();
    lock.unlock();
    Carry(request);
    lock.lock();
    requests_.pop_front();
    changed_.notify_all();
  }
}

void ThreadQueue::Carry(capstan_request* request) {
  if (request->op != CAPSTAN_OP_READ && request->op != CAPSTAN_OP_WRITE) {
    handler_.RunControl(request);
    return;
  }
  Transfer transfer{.request = request};
  const bool reading = request->op == CAPSTAN_OP_READ;
  // Read before the request is completed, as it is gone afterwards.
  char* const buffer = static_cast<char*>(request->buffer);
  const std::uint32_t size = request->size;
  const std::int64_t position = request->position;
  for (bool finished = false; !finished;) {
    transfer.fd = handler_.DescriptorFor(transfer);
    const std::size_t left = size - transfer.done;
    const off_t offset = position + transfer.done;
    const ssize_t moved = reading ? ::pread(transfer.fd, buffer + transfer.done, left, offset)
                                  : ::pwrite(transfer.fd, buffer + transfer.done, left, offset);
    finished = handler_.Advance(transfer, moved < 0 ? -errno : static_cast<int>(moved));
  }
}

}  // namespace capstan::disk
