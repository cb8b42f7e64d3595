// One device of RetryingMedia: requests that failed for a while are sent again.
//
// Threads: as MediaDevice; what is sent again is submitted by an alarm, never at the same time as
// something else.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "agent/decorators/alarms.h"
#include "agent/media_plugin.h"

namespace capstan::agent {

class Backoff;

struct RetryingDeviceOptions {
  std::string target;          // for the log
  bool random_access = false;  // requests say where they go
  std::chrono::milliseconds limit{0};
  Alarms& alarms;    // outlives the device
  Backoff& backoff;  // outlives the device
};

std::unique_ptr<MediaDevice> MakeRetryingDevice(std::unique_ptr<MediaDevice> device,
                                                const RetryingDeviceOptions& options);

}  // namespace capstan::agent
