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
  // Media are opened before the engine has configured the set: these are what it may ask for.
  std::uint32_t block_size = 4096;
  std::uint32_t transfer_size_max = 4U << 20;  // bytes
};

struct MediumStat {
  bool exists = false;
  std::uint64_t size = 0;        // bytes
  std::uint64_t free_space = 0;  // bytes, UINT64_MAX = unknown
  std::int64_t modified_unix_s = 0;
};

class MediaDevice {
 public:
  virtual ~MediaDevice() = default;  // closes with CAPSTAN_OUTCOME_KEEP if Close was not called

  // OK: request->complete will be called, exactly once. Otherwise it will not be called.
  virtual Status Submit(capstan_request* request) = 0;

  // Waits for what is in flight. The device is closed also when an error is returned.
  virtual Status Close(capstan_outcome outcome) = 0;

  // How bytes are moved, for example "io_uring direct"; empty if the plugin does not say.
  virtual std::string mode() const = 0;
};

class MediaPlugin {
 public:
  virtual ~MediaPlugin() = default;

  virtual const MediaPluginInfo& info() const = 0;

  // The status names the target and carries the errno.
  virtual Result<std::unique_ptr<MediaDevice>> Open(const OpenMediumOptions& options) = 0;
  virtual Result<MediumStat> Stat(const std::string& target) = 0;
  virtual Status Remove(const std::string& target) = 0;
  virtual Status Recover(const std::string& target, const std::string& token,
                         capstan_recover_action action) = 0;
};

}  // namespace capstan::agent
