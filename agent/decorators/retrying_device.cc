#include "agent/decorators/retrying_device.h"

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "agent/decorators/media_decorator.h"
#include "agent/decorators/request_slots.h"
#include "agent/decorators/retrying_media.h"
#include "vdi/base/log.h"
#include "vdi/base/mutex.h"

namespace capstan::agent {
namespace {

class RetryingDevice final : public MediaDevice {
 public:
  RetryingDevice(std::unique_ptr<MediaDevice> device, RetryingDeviceOptions options)
      : options_(std::move(options)), device_(std::move(device)) {}
  ~RetryingDevice() override { GiveUpWaiting(); }

  Status Submit(capstan_request* request) override {
    if (!MayBeSentAgain(request->op)) {
      const MutexLock lock(submit_mutex_);
      return device_->Submit(request);
    }
    Slot* const slot = slots_.Take(request);
    slot->device = this;
    slot->attempt = 1;
    slot->give_up = Alarms::TimePoint::max();
    const Status status = Send(slot);
    if (!status.ok() && !SendLater(slot, status)) {
      slots_.Give(slot);
      return status;
    }
    return OkStatus();
  }

  Status Close(capstan_outcome outcome) override {
    GiveUpWaiting();
    return device_->Close(outcome);
  }

  MediaDeviceStatus status() const override {
    MediaDeviceStatus status = device_->status();
    const MutexLock lock(mutex_);
    status.retries = retries_;
    if (!waiting_.empty() && status.waits_for.empty()) {
      status.waits_for = fmt::format("a failure to pass: {}", last_failure_);
    }
    return status;
  }

 private:
  struct Slot {
    RetryingDevice* device = nullptr;
    capstan_request* outer = nullptr;
    capstan_request inner{};
    std::uint32_t attempt = 1;
    Alarms::TimePoint give_up;
  };

  bool MayBeSentAgain(std::int32_t op) const {
    switch (op) {
      case CAPSTAN_OP_READ:
      case CAPSTAN_OP_WRITE:
      case CAPSTAN_OP_FLUSH:
      case CAPSTAN_OP_COMPLETE:
        return options_.random_access;
      case CAPSTAN_OP_LOAD:
      case CAPSTAN_OP_REWIND:
        return true;
      default:
        return false;
    }
  }

  Status Send(Slot* slot) CAPSTAN_EXCLUDES(submit_mutex_) {
    const MutexLock lock(submit_mutex_);
    slot->inner = CopyOfRequest(*slot->outer, OnComplete, slot);
    return device_->Submit(&slot->inner);
  }

  static void OnComplete(capstan_request* inner) {
    Slot* const slot = static_cast<Slot*>(inner->context);
    RetryingDevice& self = *slot->device;
    const bool passes =
        IsErrorCode(inner->completion_code) && (inner->error.flags & CAPSTAN_ERROR_TRANSIENT) != 0;
    inner->error.message[sizeof(inner->error.message) - 1] = '\0';
    if (passes && self.SendLater(slot, Error(Code::kUnavailable, "{}", inner->error.message))) {
      return;
    }
    self.Finish(slot);
  }

  void Finish(Slot* slot) {
    capstan_request* const outer = slot->outer;
    CopyOutcome(slot->inner, outer);
    slots_.Give(slot);
    outer->complete(outer);
  }

  // False if the failure is for good.
  bool SendLater(Slot* slot, const Status& why) CAPSTAN_EXCLUDES(mutex_) {
    if (why.code() != Code::kUnavailable) {
      return false;
    }
    const std::uint32_t next_attempt = slot->attempt + 1;
    const auto pause = options_.backoff.Before(next_attempt);
    const MutexLock lock(mutex_);
    const Alarms::TimePoint now = options_.alarms.Now();
    slot->give_up = std::min(slot->give_up, now + options_.limit);
    if (closing_ || now + pause >= slot->give_up) {
      return false;
    }
    slot->attempt = next_attempt;
    ++retries_;
    last_failure_ = why.message();
    if (std::has_single_bit(next_attempt)) {  // the 2nd, 4th, 8th, ...
      CAPSTAN_LOG(kWarning, "request is sent again target={} attempt={} in_ms={} error={}",
                  options_.target, next_attempt, pause.count(), last_failure_);
    }
    const Alarms::Id alarm = options_.alarms.CallAt(now + pause, [this, slot] { SendAgain(slot); });
    waiting_[slot] = alarm;
    return true;
  }

  // The alarm's thread.
  void SendAgain(Slot* slot) CAPSTAN_EXCLUDES(mutex_, submit_mutex_) {
    Status status;
    {
      const MutexLock submitting(submit_mutex_);
      {
        const MutexLock lock(mutex_);
        if (waiting_.erase(slot) == 0) {
          return;  // given up by Close
        }
      }
      slot->inner = CopyOfRequest(*slot->outer, OnComplete, slot);
      status = device_->Submit(&slot->inner);
      if (status.ok()) {
        return;  // the slot may be gone already
      }
    }
    if (SendLater(slot, status)) {
      return;
    }
    capstan_request* const outer = slot->outer;
    slots_.Give(slot);
    const bool reads = outer->op == CAPSTAN_OP_READ;
    CompleteWithError(outer, reads ? CAPSTAN_E_READ_FAULT : CAPSTAN_E_WRITE_FAULT, status);
  }

  // What waits fails as it did last. No request is sent again from here on.
  void GiveUpWaiting() CAPSTAN_EXCLUDES(mutex_, submit_mutex_) {
    std::map<Slot*, Alarms::Id> waiting;
    std::string failure;
    {
      const MutexLock lock(mutex_);
      closing_ = true;
      waiting.swap(waiting_);
      failure = last_failure_;
    }
    for (const auto& [slot, alarm] : waiting) {
      options_.alarms.Cancel(alarm);
      capstan_request* const outer = slot->outer;
      slots_.Give(slot);
      CompleteWithError(
          outer, CAPSTAN_E_ABORTED,
          Error(Code::kAborted, "given up while it waited to be sent again: {}", failure));
    }
    // One that an alarm took out before is being submitted.
    const MutexLock barrier(submit_mutex_);
  }

  const RetryingDeviceOptions options_;

  Mutex submit_mutex_;  // held while the device takes a request; before mutex_
  mutable Mutex mutex_;
  bool closing_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::uint64_t retries_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::string last_failure_ CAPSTAN_GUARDED_BY(mutex_);
  std::map<Slot*, Alarms::Id> waiting_ CAPSTAN_GUARDED_BY(mutex_);  // to be sent again
  RequestSlots<Slot> slots_;

  const std::unique_ptr<MediaDevice> device_;  // last: closes in its destructor, and completes
};

}  // namespace

std::unique_ptr<MediaDevice> MakeRetryingDevice(std::unique_ptr<MediaDevice> device,
                                                const RetryingDeviceOptions& options) {
  return std::make_unique<RetryingDevice>(std::move(device), options);
}

}  // namespace capstan::agent
