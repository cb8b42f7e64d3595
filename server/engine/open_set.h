// OpenSet: a device set from request to close: found or ordered, configured, buffers taken, devices
// opened. Both pipelines and the listings stand on it.
//
// Threads: Abort from any; everything else from the job's thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/buffer_plan.h"
#include "server/engine/device_channel.h"
#include "server/engine/device_failure.h"
#include "server/engine/device_provider.h"
#include "server/engine/transfer_pool.h"
#include "server/media/family_writer.h"

namespace capstan::engine {

struct OpenSetOptions {
  std::uint32_t block_size = kBlockSizeDefault;  // bytes
  BufferPlan plan;
  Timeouts timeouts;
  ErrorLog* error_log = nullptr;  // must outlive the set; null: nothing is logged
};

class OpenSet {
 public:
  // 701 if the segment does not fit into memory, 3261 if the client's wishes cannot be met, 3201 in
  // state 7 or 6 if the set is lost on the way, otherwise what the provider says.
  static Result<std::unique_ptr<OpenSet>> Open(DeviceProvider& provider,
                                               const DeviceSetRequest& request,
                                               const OpenSetOptions& options);
  ~OpenSet();  // aborts what is still open
  OpenSet(const OpenSet&) = delete;
  OpenSet& operator=(const OpenSet&) = delete;

  std::size_t device_count() const { return channels_.size(); }
  DeviceChannel& device(std::size_t index) { return *channels_[index]; }
  TransferPool& pool() { return *pool_; }
  // A plugin serves it, whose media can be read before they are written, and changed on demand.
  bool of_plugin() const { return of_plugin_; }
  // The client asked for kComplete and gets it.
  bool complete_enabled() const { return complete_enabled_; }
  bool random_access() const { return Has(vdi::feature::kRandomAccess); }
  // A device may ask for, and be given, another medium.
  bool removable() const { return Has(vdi::feature::kRemovable); }
  bool hard_filemarks() const { return Has(vdi::feature::kFileMarks); }
  bool Has(std::uint32_t feature) const { return (wishes_.features & feature) != 0; }
  std::uint32_t block_size() const { return block_size_; }
  // Bytes that a removable medium still takes once it has warned of its end; 0 = not known.
  std::uint32_t eom_warning_size() const { return wishes_.eom_warning_size; }
  // How media that are written on these devices keep their filemarks.
  media::MediumForm medium_form() const;

  // A buffer beside the pool for what is no frame, one per device; removable sets alone have them.
  TransferBuffer& spare(std::size_t device) { return spares_[device]; }
  // How long a limit of the rate alone may keep a device from completing anything: as long as all
  // buffers take.
  std::chrono::nanoseconds rate_patience() const { return rate_patience_; }
  // The client asked for kPrepareToFreeze before a snapshot.
  bool snapshot_prepare() const { return Has(vdi::feature::kSnapshotPrepare); }

  // Ends the set for both sides; commands in flight call back. Idempotent.
  void Abort(Status why) { set_->SignalAbort(std::move(why)); }
  Status abort_reason() const { return set_->abort_reason(); }

  // Ends every device in good order, then the set. REQUIRES: nothing in flight. Once is enough.
  Status Close();

  // The error for a failed command, in SQL Server's words, with the best cause there is: why the
  // set was aborted, what the agent reported, or the completion code. Without `command`, a
  // transfer. The first of a set is also written to the error log, as 18210.
  Status ErrorOf(Direction direction, const DeviceChannel& channel, vdi::CompletionCode code,
                 std::optional<vdi::CommandCode> command = {});

  // Has one device carry out a command without data, waiting for it; ErrorOf unless it succeeds.
  Status Execute(Direction direction, DeviceChannel& channel, vdi::CommandCode code);

  // Writes 18210 to the error log, once for a set: its devices fail together, for one reason.
  void LogFailure(const std::string& target, const std::string& cause,
                  std::optional<vdi::CommandCode> command = {});

  std::vector<DeviceSnapshot> Sample();

 private:
  struct Log {
    ErrorLog* file = nullptr;
    int session_id = 0;
  };
  OpenSet(DeviceProvider& provider, ProvidedSet provided, Log log)
      : provider_(provider), log_(log), set_(std::move(provided.set)) {}
  Status Configure(const DeviceSetRequest& request, const OpenSetOptions& options,
                   const std::vector<std::string>& device_names);
  Status CheckFilemarks() const;
  Status TakeBuffers(const BufferPlan& plan);
  Status OpenDevices(const DeviceSetRequest& request, const ProvidedSet& provided,
                     Deadline deadline);
  // What became of the set before it carried data: 3201.
  Status Lost(const FailureOrigin& origin, const std::string& target, const Status& failure,
              int state) const;
  std::string AbortHint(std::string_view phase, const Status& reason) const;

  DeviceProvider& provider_;
  const Log log_;
  std::unique_ptr<vdi::ServerDeviceSet> set_;
  std::unique_ptr<TransferPool> pool_;
  std::vector<std::unique_ptr<DeviceChannel>> channels_;
  std::vector<TransferBuffer> spares_;
  vdi::DeviceSetConfig wishes_;  // of the client
  std::uint32_t block_size_ = kBlockSizeDefault;
  std::chrono::nanoseconds rate_patience_{0};
  vdi::CommandCode transfer_ = vdi::CommandCode::kWrite;  // or kRead
  bool of_plugin_ = false;
  bool complete_enabled_ = false;
  bool closed_ = false;
  std::atomic<bool> logged_{false};
};

}  // namespace capstan::engine
