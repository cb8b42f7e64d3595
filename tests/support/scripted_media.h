// ScriptedMedia: a plugin whose calls end as a test says, and whose requests complete when it says.
#pragma once

#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "agent/media_plugin.h"
#include "vdi/base/check.h"

namespace capstan::test {

// What a test sees of a device; outlives it.
struct MediaScript {
  std::deque<Status> calls;     // how the next opens, stats, removes and recovers end; then OK
  std::deque<Status> refusals;  // how the next submits end; then OK
  std::vector<capstan_request*> requests;  // accepted and not completed, in order
  std::size_t call_count = 0;
  std::size_t submit_count = 0;
  std::vector<capstan_outcome> closes;

  // Completes the oldest request.
  void Complete(std::uint32_t code = CAPSTAN_E_OK, bool transient = false) {
    CAPSTAN_CHECK(!requests.empty());
    capstan_request* const request = requests.front();
    requests.erase(requests.begin());
    request->completion_code = code;
    request->bytes_transferred = code == CAPSTAN_E_OK ? request->size : 0;
    if (code != CAPSTAN_E_OK) {
      request->error.os_error = 110;
      request->error.flags = transient ? CAPSTAN_ERROR_TRANSIENT : 0;
      std::snprintf(request->error.message, sizeof(request->error.message), "scripted failure");
    }
    request->complete(request);
  }
};

class ScriptedMedia final : public agent::MediaPlugin {
 public:
  ScriptedMedia(MediaScript& script, std::uint32_t device_features) : script_(script) {
    info_.name = "scripted";
    info_.device_class = "DISK";
    info_.device_features = device_features;
    info_.alignment = 1;
  }

  const agent::MediaPluginInfo& info() const override { return info_; }
  Status Configure(const std::string&, const std::string&) override { return OkStatus(); }
  Result<std::unique_ptr<agent::MediaDevice>> Open(const agent::OpenMediumOptions&) override {
    CAPSTAN_RETURN_IF_ERROR(NextCall());
    return std::unique_ptr<agent::MediaDevice>(std::make_unique<Device>(script_));
  }
  Result<agent::MediumStat> Stat(const std::string&) override {
    CAPSTAN_RETURN_IF_ERROR(NextCall());
    return agent::MediumStat{.exists = true, .size = 7};
  }
  Status Remove(const std::string&) override { return NextCall(); }
  Status Recover(const std::string&, const std::string&, capstan_recover_action) override {
    return NextCall();
  }

 private:
  class Device final : public agent::MediaDevice {
   public:
    explicit Device(MediaScript& script) : script_(script) {}
    Status Submit(capstan_request* request) override {
      ++script_.submit_count;
      if (!script_.refusals.empty()) {
        Status refusal = script_.refusals.front();
        script_.refusals.pop_front();
        return refusal;
      }
      script_.requests.push_back(request);
      return OkStatus();
    }
    Status Close(capstan_outcome outcome) override {
      script_.closes.push_back(outcome);
      while (!script_.requests.empty()) {
        script_.Complete(CAPSTAN_E_ABORTED, /*transient=*/true);
      }
      return OkStatus();
    }
    agent::MediaDeviceStatus status() const override { return {}; }

   private:
    MediaScript& script_;
  };

  Status NextCall() {
    ++script_.call_count;
    if (script_.calls.empty()) {
      return OkStatus();
    }
    Status status = script_.calls.front();
    script_.calls.pop_front();
    return status;
  }

  MediaScript& script_;
  agent::MediaPluginInfo info_;
};

}  // namespace capstan::test
