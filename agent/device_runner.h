// DeviceRunner: serves one virtual device with one medium.
//
// Takes commands from the engine in order, submits them to the plugin at once, several in flight,
// and gives each back when the plugin completes it, in whatever order that is. No byte is touched
// here. Threads: Run on one; Load from any; completions arrive on the plugin's threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/media_plugin.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/client_device_set.h"

namespace capstan::agent {

// One device in a report.
struct DeviceLoad {
  std::string set_name = {};
  std::string device_name = {};
  std::string target = {};
  std::uint64_t bytes = 0;             // since the device was opened
  std::uint64_t bytes_per_second = 0;  // since the last report
  std::uint32_t queue_depth = 0;       // requests in flight now
  std::uint32_t errors = 0;
  std::string last_error = {};       // "28(No space left on device)"; other words without an errno
  std::string last_error_text = {};  // the plugin's own words
  std::string last_error_hint = {};
  MediaDeviceStatus status = {};
};

class DeviceRunner {
 public:
  enum class Ending {
    kNone,     // the device was never opened
    kClosed,   // in good order, which does not say that the job went well
    kAborted,  // by the engine, by us, or because somebody died: the set knows
  };

  DeviceRunner(std::string set_name, std::string device_name, std::string target,
               std::unique_ptr<MediaDevice> medium);
  ~DeviceRunner();

  const std::string& device_name() const { return device_name_; }
  const std::string& target() const { return target_; }

  // Until the engine closes or aborts the device. `device` outlives the call and CloseMedium, as
  // completions use it.
  Ending Run(vdi::ClientDevice& device);

  // COMPLETE was carried out.
  bool completed() const { return completed_.load(std::memory_order_acquire); }

  // Waits for what is in flight, and ends the medium. No buffer is used afterwards.
  Status CloseMedium(capstan_outcome outcome) CAPSTAN_EXCLUDES(mutex_);

  DeviceLoad Load() CAPSTAN_EXCLUDES(mutex_);

 private:
  struct Slot;

  void Carry(const vdi::ClientCommand& command);
  Slot* TakeSlot() CAPSTAN_EXCLUDES(mutex_);
  static void OnComplete(capstan_request* request);
  void Finish(Slot* slot, vdi::CompletionCode code);
  void NoteError(const Status& error) CAPSTAN_EXCLUDES(mutex_);

  const std::string set_name_;
  const std::string device_name_;
  const std::string target_;

  vdi::ClientDevice* device_ = nullptr;  // set by Run before the first submit
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint32_t> in_flight_{0};
  std::atomic<bool> completed_{false};

  Mutex mutex_;
  std::unique_ptr<MediaDevice> medium_;  // Run's thread uses it without the lock; Load with it
  bool medium_open_ CAPSTAN_GUARDED_BY(mutex_) = true;
  MediaDeviceStatus last_status_ CAPSTAN_GUARDED_BY(mutex_);             // when it was closed
  std::vector<std::unique_ptr<Slot>> slots_ CAPSTAN_GUARDED_BY(mutex_);  // all that exist
  std::vector<Slot*> free_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint32_t errors_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  Status last_error_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint64_t reported_bytes_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::chrono::steady_clock::time_point reported_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::agent
