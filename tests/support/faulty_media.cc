#include "tests/support/faulty_media.h"

#include <cstdio>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

namespace capstan::test {
namespace {

using Call = MediaFault::Call;

std::optional<Call> CallOf(std::int32_t op) {
  switch (op) {
    case CAPSTAN_OP_WRITE:
      return Call::kWrite;
    case CAPSTAN_OP_READ:
      return Call::kRead;
    case CAPSTAN_OP_FLUSH:
      return Call::kFlush;
    case CAPSTAN_OP_COMPLETE:
      return Call::kComplete;
    default:
      return std::nullopt;
  }
}

Status FailureOf(const MediaFault& fault, const std::string& message) {
  return fault.transient ? Error(Code::kUnavailable, "{}", message).WithOsError(fault.os_error)
                         : OsError(fault.os_error, message);
}

class FaultyDevice final : public agent::MediaDevice {
 public:
  FaultyDevice(FaultyMedia& media, std::unique_ptr<agent::MediaDevice> device)
      : media_(media), device_(std::move(device)) {}

  Status Submit(capstan_request* request) override {
    if (const MediaFault* fault = media_.Count(Call::kSubmit)) {
      return FailureOf(*fault, "planned fault");
    }
    const std::optional<Call> call = CallOf(request->op);
    const MediaFault* const fault = call ? media_.Count(*call) : nullptr;
    if (fault == nullptr) {
      return device_->Submit(request);
    }
    request->completion_code = fault->completion_code;
    request->error.os_error = fault->os_error;
    request->error.flags = fault->transient ? CAPSTAN_ERROR_TRANSIENT : 0;
    std::snprintf(request->error.message, sizeof(request->error.message), "planned fault");
    request->complete(request);
    return OkStatus();
  }

  Status Close(capstan_outcome outcome) override {
    const Status status = device_->Close(outcome);
    const MediaFault* const fault = media_.Count(Call::kClose);
    return fault != nullptr ? OsError(fault->os_error, "planned fault") : status;
  }

  agent::MediaDeviceStatus status() const override { return device_->status(); }

 private:
  FaultyMedia& media_;
  const std::unique_ptr<agent::MediaDevice> device_;
};

}  // namespace

FaultyMedia::FaultyMedia(std::unique_ptr<agent::MediaPlugin> plugin, std::vector<MediaFault> plan)
    : plugin_(std::move(plugin)), plan_(std::move(plan)), fired_(plan_.size()) {}

FaultyMedia::~FaultyMedia() {
  const MutexLock lock(mutex_);
  for (std::size_t index = 0; index < plan_.size(); ++index) {
    EXPECT_TRUE(fired_[index]) << "planned fault " << index << " never fired";
  }
}

Result<std::unique_ptr<agent::MediaDevice>> FaultyMedia::Open(
    const agent::OpenMediumOptions& options) {
  if (const MediaFault* fault = Count(Call::kOpen)) {
    return FailureOf(*fault, "planned fault on medium '" + options.target + "'");
  }
  CAPSTAN_ASSIGN_OR_RETURN(auto device, plugin_->Open(options));
  return std::unique_ptr<agent::MediaDevice>(
      std::make_unique<FaultyDevice>(*this, std::move(device)));
}

const MediaFault* FaultyMedia::Count(Call call) {
  const MutexLock lock(mutex_);
  const std::uint32_t number = ++counts_[static_cast<int>(call)];
  for (std::size_t index = 0; index < plan_.size(); ++index) {
    if (plan_[index].call == call && plan_[index].number == number) {
      fired_[index] = true;
      return &plan_[index];
    }
  }
  return nullptr;
}

}  // namespace capstan::test
