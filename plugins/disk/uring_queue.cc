#include "plugins/disk/uring_queue.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "plugins/edge/quiet_thread.h"

namespace capstan::disk {
namespace {

constexpr std::uint32_t kDepthMax = 1024;

bool IsTransfer(const capstan_request& request) {
  return request.op == CAPSTAN_OP_READ || request.op == CAPSTAN_OP_WRITE;
}

}  // namespace

std::unique_ptr<UringQueue> UringQueue::Create(RequestHandler& handler, std::uint32_t depth) {
  depth = std::clamp<std::uint32_t>(depth, 1, kDepthMax);
  io_uring ring{};
  io_uring_params params{};
  // One entry per transfer, and two for the markers: the submission ring never fills up.
  if (io_uring_queue_init_params(depth + 2, &ring, &params) != 0) {
    return nullptr;
  }
  // Without EXT_ARG a wait with a time limit would use the submission side, which is not ours
  // there.
  if ((params.features & IORING_FEAT_EXT_ARG) == 0) {
    io_uring_queue_exit(&ring);
    return nullptr;
  }
  std::unique_ptr<UringQueue> queue(new UringQueue(handler, ring, depth));
  try {
    queue->reaper_ = edge::QuietThread([&reaped = *queue] { reaped.Reap(); });
  } catch (const std::system_error&) {
    return nullptr;
  }
  return queue;
}

UringQueue::UringQueue(RequestHandler& handler, io_uring ring, std::uint32_t depth)
    : handler_(handler), ring_(ring), transfers_(depth) {
  for (Transfer& transfer : transfers_) {
    free_.push_back(&transfer);
  }
}

UringQueue::~UringQueue() {
  if (reaper_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      PrepareWake(&stop_marker_);
      FlushSubmissions();
    }
    reaper_.join();
  }
  io_uring_queue_exit(&ring_);
}

void UringQueue::Submit(capstan_request* request) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(request);
  Pump();
}

void UringQueue::Drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] {
    return waiting_.empty() && control_ == nullptr && free_.size() == transfers_.size();
  });
}

// Moves what may run now from the FIFO into the ring.
void UringQueue::Pump() {
  while (control_ == nullptr && !waiting_.empty()) {
    capstan_request* const request = waiting_.front();
    if (!IsTransfer(*request)) {
      if (free_.size() != transfers_.size()) {
        break;
      }
      control_ = request;
      PrepareWake(&control_marker_);
    } else if (free_.empty()) {
      break;
    } else {
      Transfer* const transfer = free_.back();
      free_.pop_back();
      *transfer = Transfer{.request = request};
      PrepareTransfer(transfer);
    }
    waiting_.pop_front();
  }
  FlushSubmissions();
  if (waiting_.empty() && control_ == nullptr && free_.size() == transfers_.size()) {
    idle_.notify_all();
  }
}

void UringQueue::PrepareTransfer(Transfer* transfer) {
  const capstan_request& request = *transfer->request;
  io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
  transfer->fd = handler_.DescriptorFor(*transfer);
  char* const buffer = static_cast<char*>(request.buffer) + transfer->done;
  const std::uint32_t left = request.size - transfer->done;
  const auto offset = static_cast<std::uint64_t>(request.position) + transfer->done;
  if (request.op == CAPSTAN_OP_READ) {
    io_uring_prep_read(entry, transfer->fd, buffer, left, offset);
  } else {
    io_uring_prep_write(entry, transfer->fd, buffer, left, offset);
  }
  io_uring_sqe_set_data(entry, transfer);
}

void UringQueue::PrepareWake(void* marker) {
  io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
  io_uring_prep_nop(entry);
  io_uring_sqe_set_data(entry, marker);
}

// What the kernel does not take now (out of memory, interrupted) stays in the submission ring; the
// reaper tries again within a second.
void UringQueue::FlushSubmissions() {
  while (io_uring_sq_ready(&ring_) > 0 && io_uring_submit(&ring_) == -EINTR) {
  }
}

void UringQueue::Reap() {
  for (bool stopped = false; !stopped;) {
    io_uring_cqe* entry = nullptr;
    __kernel_timespec second{.tv_sec = 1, .tv_nsec = 0};
    if (io_uring_wait_cqe_timeout(&ring_, &entry, &second) != 0) {
      const std::lock_guard lock(mutex_);
      FlushSubmissions();
      continue;
    }
    void* const data = io_uring_cqe_get_data(entry);
    const int result = entry->res;
    io_uring_cqe_seen(&ring_, entry);
    stopped = Handle(data, result);
  }
}

// True when the queue is to stop.
bool UringQueue::Handle(void* data, int result) {
  if (data == &stop_marker_) {
    return true;
  }
  if (data == &control_marker_) {
    HandleControl();
  } else {
    HandleTransfer(static_cast<Transfer*>(data), result);
  }
  return false;
}

void UringQueue::HandleTransfer(Transfer* transfer, int result) {
  {
    // The transfer came to this thread through the kernel. The lock under which it was submitted
    // says in the language's terms, and to ThreadSanitizer, that it is all there.
    const std::lock_guard lock(mutex_);
  }
  const bool finished = handler_.Advance(*transfer, result);
  const std::lock_guard lock(mutex_);
  if (finished) {
    free_.push_back(transfer);
    Pump();
  } else {
    PrepareTransfer(transfer);
    FlushSubmissions();
  }
}

void UringQueue::HandleControl() {
  capstan_request* request = nullptr;
  {
    const std::lock_guard lock(mutex_);
    request = control_;
  }
  handler_.RunControl(request);
  const std::lock_guard lock(mutex_);
  control_ = nullptr;
  Pump();
}

}  // namespace capstan::disk
