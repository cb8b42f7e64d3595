// MediaPlugin and MediaDevice: a plugin (capstan/plugin.h) as the agent's own code sees it.
//
// Implemented by AbiPlugin around a C plugin, by decorators, and by fakes. The rules of plugin.h
// hold: requests are capstan_request, completed by callback from any thread. Threads: MediaPlugin
// from any; a MediaDevice from one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "capstan/plugin.h"
#include "vdi/base/status.h"

namespace capstan::agent {

class RateLimit;  // decorators/rate_limit.h

struct MediaPluginInfo {
  std::string name;
  std::string version;
  std::string vendor;
  std::string device_class;
  std::vector<std::string> schemes;
  std::uint32_t capabilities = 0;     // CAPSTAN_CAN_*
  std::uint32_t device_features = 0;  // VDF_*
  std::uint32_t alignment = 0;        // bytes
};

struct OpenMediumOptions {
  capstan_open_mode mode = CAPSTAN_OPEN_READ;
  std::string target = {};
  std::string token = {};
  std::uint64_t size_estimate = 0;  // bytes, 0 = unknown
  std::uint32_t queue_depth_max = 8;
  std::int64_t retain_until_unix_s = 0;  // 0 = no wish
  // Media are opened before the engine has configured the set: these are what it may ask for.
  std::uint32_t block_size = 4096;
  std::uint32_t transfer_size_max = 4U << 20;  // bytes
  // CAPSTAN_OPEN_RESUME. os_error ENOTSUP: the plugin cannot.
  bool resume = false;
  // For the decorators: what the devices of the job share; null = no limit.
  std::shared_ptr<RateLimit> rate_limit = nullptr;
};

struct MediumStat {
  bool exists = false;
  std::uint64_t size = 0;        // bytes
  std::uint64_t free_space = 0;  // bytes, UINT64_MAX = unknown
  std::int64_t modified_unix_s = 0;
};

// How an open device is doing; what the plugin does not tell is 0 or empty.
struct MediaDeviceStatus {
  std::uint32_t stops = 0;           // for want of data
  std::uint64_t medium_time_us = 0;  // that the medium itself was busy
  std::string mode = {};             // how bytes are moved, for example "io_uring direct"
  std::string medium = {};           // which one is in the drive
  std::string waits_for = {};        // what keeps the device waiting
  // What the agent's decorators add; the plugin's part is above.
  std::uint64_t requests = 0;             // reads and writes that the plugin has completed
  std::uint64_t request_time_us = 0;      // their times added up; several run at once
  std::uint64_t request_time_max_us = 0;  // of the slowest one
  std::uint64_t throttled_us = 0;         // during which a limit held something back
  std::uint64_t retries = 0;              // times that a request was sent again
};

class MediaDevice {
 public:
  virtual ~MediaDevice() = default;  // closes with CAPSTAN_OUTCOME_KEEP if Close was not called

  // OK: request->complete will be called, exactly once. Otherwise it will not be called.
  virtual Status Submit(capstan_request* request) = 0;

  // Waits for what is in flight. The device is closed also when an error is returned.
  virtual Status Close(capstan_outcome outcome) = 0;

  virtual MediaDeviceStatus status() const = 0;  // any thread; does not wait
};

class MediaPlugin {
 public:
  virtual ~MediaPlugin() = default;

  virtual const MediaPluginInfo& info() const = 0;

  // Before anything else of the plugin. kInvalidArgument: it knows no such option or value.
  virtual Status Configure(const std::string& key, const std::string& value) = 0;

  // The status names the target and carries the errno; kUnavailable: it may pass by itself.
  virtual Result<std::unique_ptr<MediaDevice>> Open(const OpenMediumOptions& options) = 0;
  virtual Result<MediumStat> Stat(const std::string& target) = 0;
  virtual Status Remove(const std::string& target) = 0;
  virtual Status Recover(const std::string& target, const std::string& token,
                         capstan_recover_action action) = 0;

  // Calls above that wait for something to pass by itself, and run now, fail soon. Devices are not
  // touched.
  virtual void EndWaits() {}
};

}  // namespace capstan::agent
