#include "agent/decorators/measured_media.h"

#include <atomic>

#include "agent/decorators/request_slots.h"
#include "vdi/base/clock.h"

namespace capstan::agent {
namespace {

class MeasuredDevice final : public MediaDevice {
 public:
  explicit MeasuredDevice(std::unique_ptr<MediaDevice> device) : device_(std::move(device)) {}

  Status Submit(capstan_request* request) override {
    if (!IsTransferOp(request->op)) {
      return device_->Submit(request);
    }
    Slot* const slot = slots_.Take(request);
    slot->device = this;
    slot->begin_ns = MonotonicNanos();
    slot->inner = CopyOfRequest(*request, OnComplete, slot);
    Status status = device_->Submit(&slot->inner);
    if (!status.ok()) {
      slots_.Give(slot);
    }
    return status;
  }

  Status Close(capstan_outcome outcome) override { return device_->Close(outcome); }

  MediaDeviceStatus status() const override {
    MediaDeviceStatus status = device_->status();
    status.requests = requests_.load(std::memory_order_relaxed);
    status.request_time_us = time_ns_.load(std::memory_order_relaxed) / 1000;
    status.request_time_max_us = time_max_ns_.load(std::memory_order_relaxed) / 1000;
    return status;
  }

 private:
  struct Slot {
    MeasuredDevice* device = nullptr;
    capstan_request* outer = nullptr;
    capstan_request inner{};
    std::uint64_t begin_ns = 0;
  };

  static void OnComplete(capstan_request* inner) {
    Slot* const slot = static_cast<Slot*>(inner->context);
    MeasuredDevice& self = *slot->device;
    capstan_request* const outer = slot->outer;
    self.Count(MonotonicNanos() - slot->begin_ns);
    CopyOutcome(*inner, outer);
    self.slots_.Give(slot);
    outer->complete(outer);
  }

  void Count(std::uint64_t ns) {
    requests_.fetch_add(1, std::memory_order_relaxed);
    time_ns_.fetch_add(ns, std::memory_order_relaxed);
    std::uint64_t seen = time_max_ns_.load(std::memory_order_relaxed);
    while (ns > seen && !time_max_ns_.compare_exchange_weak(seen, ns, std::memory_order_relaxed)) {
    }
  }

  std::atomic<std::uint64_t> requests_{0};
  std::atomic<std::uint64_t> time_ns_{0};
  std::atomic<std::uint64_t> time_max_ns_{0};
  RequestSlots<Slot> slots_;
  const std::unique_ptr<MediaDevice> device_;  // last: closes in its destructor, and completes
};

}  // namespace

Result<std::unique_ptr<MediaDevice>> MeasuredMedia::Open(const OpenMediumOptions& options) {
  CAPSTAN_ASSIGN_OR_RETURN(auto device, plugin().Open(options));
  return std::unique_ptr<MediaDevice>(std::make_unique<MeasuredDevice>(std::move(device)));
}

}  // namespace capstan::agent
