#include "agent/decorators/throttled_media.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

namespace capstan::agent {
namespace {

using Limits = std::vector<std::shared_ptr<RateLimit>>;

class ThrottledDevice final : public MediaDevice {
 public:
  ThrottledDevice(std::unique_ptr<MediaDevice> device, Limits limits, Alarms& alarms)
      : alarms_(alarms), limits_(std::move(limits)), device_(std::move(device)) {}
  ~ThrottledDevice() override { GiveUpWaiting(); }

  Status Submit(capstan_request* request) override {
    {
      const MutexLock lock(mutex_);
      const Alarms::TimePoint now = alarms_.Now();
      Alarms::TimePoint due = now;
      if (IsTransferOp(request->op)) {
        for (const auto& limit : limits_) {
          due = std::max(due, limit->Take(request->size, now));
        }
      }
      if (due > now || !waiting_.empty() || submitting_) {
        if (waiting_.empty()) {
          held_since_ = now;
        }
        waiting_.push_back({request, due});
        if (waiting_.size() == 1 && !submitting_) {
          Arm();
        }
        return OkStatus();
      }
    }
    // Nobody else submits: the alarm does so only while something waits.
    return device_->Submit(request);
  }

  Status Close(capstan_outcome outcome) override {
    GiveUpWaiting();
    return device_->Close(outcome);
  }

  MediaDeviceStatus status() const override {
    MediaDeviceStatus status = device_->status();
    const MutexLock lock(mutex_);
    Alarms::TimePoint::duration held = held_;
    if (!waiting_.empty()) {
      held += alarms_.Now() - held_since_;
      if (status.waits_for.empty()) {
        status.waits_for = "the rate limit";
      }
    }
    status.throttled_us = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(held).count());
    return status;
  }

 private:
  struct Waiting {
    capstan_request* request = nullptr;
    Alarms::TimePoint due;
  };

  void Arm() CAPSTAN_REQUIRES(mutex_) {
    alarm_ = alarms_.CallAt(waiting_.front().due, [this] { SubmitDue(); });
  }

  // The alarm's thread.
  void SubmitDue() CAPSTAN_EXCLUDES(mutex_) {
    while (capstan_request* const request = TakeDue()) {
      if (const Status status = device_->Submit(request); !status.ok()) {
        const bool reads = request->op == CAPSTAN_OP_READ;
        CompleteWithError(request, reads ? CAPSTAN_E_READ_FAULT : CAPSTAN_E_WRITE_FAULT, status);
      }
    }
  }

  // The next request that is due; null, and the alarm is set for what is not due yet.
  capstan_request* TakeDue() CAPSTAN_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    submitting_ = false;
    if (waiting_.empty() || closing_) {
      return nullptr;
    }
    if (waiting_.front().due > alarms_.Now()) {
      Arm();
      return nullptr;
    }
    capstan_request* const request = waiting_.front().request;
    waiting_.pop_front();
    if (waiting_.empty()) {
      held_ += alarms_.Now() - held_since_;
    }
    submitting_ = true;
    return request;
  }

  void GiveUpWaiting() CAPSTAN_EXCLUDES(mutex_) {
    Alarms::Id alarm = 0;
    {
      const MutexLock lock(mutex_);
      closing_ = true;
      alarm = alarm_;
    }
    alarms_.Cancel(alarm);
    std::deque<Waiting> waiting;
    {
      const MutexLock lock(mutex_);
      waiting.swap(waiting_);
    }
    for (const Waiting& one : waiting) {
      CompleteWithError(one.request, CAPSTAN_E_ABORTED,
                        Error(Code::kAborted, "the device was closed while it was held back"));
    }
  }

  Alarms& alarms_;
  const Limits limits_;

  mutable Mutex mutex_;
  std::deque<Waiting> waiting_ CAPSTAN_GUARDED_BY(mutex_);
  bool submitting_ CAPSTAN_GUARDED_BY(mutex_) = false;  // the alarm's thread is about it
  bool closing_ CAPSTAN_GUARDED_BY(mutex_) = false;
  Alarms::Id alarm_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  Alarms::TimePoint held_since_ CAPSTAN_GUARDED_BY(mutex_);  // while something waits
  Alarms::TimePoint::duration held_ CAPSTAN_GUARDED_BY(mutex_){0};

  const std::unique_ptr<MediaDevice> device_;  // last: closes in its destructor, and completes
};

}  // namespace

Result<std::unique_ptr<MediaDevice>> ThrottledMedia::Open(const OpenMediumOptions& options) {
  CAPSTAN_ASSIGN_OR_RETURN(auto device, plugin().Open(options));
  Limits limits;
  for (const auto& limit : {limit_, options.rate_limit}) {
    if (limit != nullptr) {
      limits.push_back(limit);
    }
  }
  if (limits.empty()) {
    return device;
  }
  return std::unique_ptr<MediaDevice>(
      std::make_unique<ThrottledDevice>(std::move(device), std::move(limits), alarms_));
}

}  // namespace capstan::agent
