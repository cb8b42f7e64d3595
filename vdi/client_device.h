// ClientDeviceEnd: the client's end of one virtual device.
//
// Threads: one in GetCommand at a time, any in CompleteCommand; see client_device_set.h. Commands
// are copied out of the segment before anything in them is looked at.
// IO-ERROR is kept here as well as in the engine: after a failed command the engine may have sent
// more before it knew. Those were never delivered, so GetCommand completes them with 1117 itself
// and goes on to ClearError, which is the next thing the engine can send. ClearError itself is held
// back until the client has completed every command that it got before.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/client_areas.h"
#include "vdi/client_device_set.h"
#include "vdi/segment_layout.h"
#include "vdi/spsc_ring.h"
#include "vdi/wake.h"

namespace capstan::vdi {

// What a device asks of its set.
class ClientDeviceOwner {
 public:
  virtual ~ClientDeviceOwner() = default;
  virtual bool aborted() const = 0;      // sequentially consistent
  virtual bool engine_left() const = 0;  // in good order; sequentially consistent
  virtual Status AbortedError() const = 0;
  virtual void AbortSet(Status why) = 0;
};

class ClientDeviceEnd final : public ClientDevice {
 public:
  // What the devices of one process have in common.
  struct Shared {
    ClientDeviceOwner& owner;
    ClientAreas& buffers;
    SleepWord& engine_sleep;
    std::uint32_t member;  // what this process is called in the set
  };
  // The references must outlive the device; `area`, `engine_sleep` and `buffers` until Retire.
  // REQUIRES: the device was claimed.
  ClientDeviceEnd(const Shared& shared, DeviceArea& area, std::string name);

  // Makes the device one of this process, and tells the engine. False: some process has it.
  static bool Claim(const Shared& shared, DeviceArea& area);

  Result<std::optional<ClientCommand>> GetCommand(Deadline deadline) override;
  Status CompleteCommand(std::uint64_t command_id, CompletionCode code, std::uint32_t bytes,
                         std::int64_t position) override;

  const std::string& name() const { return name_; }
  bool closed_by_engine() const { return closed_.load(std::memory_order_acquire); }
  // Makes a GetCommand that waits look at aborted().
  void Wake() { WakeIfAsleep(area_.client_sleep); }
  // The segment is about to vanish. REQUIRES: aborted, or closed by the engine.
  void Retire();

 private:
  struct Outstanding {
    std::uint64_t id = 0;  // 0: free
    CommandCode code = CommandCode::kRead;
    std::uint32_t size = 0;
  };

  Status CheckUsable() const CAPSTAN_REQUIRES(take_mutex_);
  // Takes one record; nullopt if it was none to deliver (refused with 1117, or the close record).
  Result<std::optional<ClientCommand>> TakeOne() CAPSTAN_REQUIRES(take_mutex_);
  // Whether TakeOne would find something. Sequentially consistent loads only, for WaitForWork.
  bool HasWork() const CAPSTAN_REQUIRES(take_mutex_);
  Result<std::optional<ClientCommand>> Deliver(const CommandRecord& record)
      CAPSTAN_EXCLUDES(complete_mutex_);
  Result<ClientCommand> Decode(const CommandRecord& record) const;
  Result<std::byte*> Locate(const CommandRecord& record) const;
  bool RefuseInIoError(const CommandRecord& record) CAPSTAN_EXCLUDES(complete_mutex_);
  // Keeps a ClearError from the client while commands are outstanding.
  bool HoldBack(const CommandRecord& record) CAPSTAN_REQUIRES(take_mutex_)
      CAPSTAN_EXCLUDES(complete_mutex_);
  Status Broken(std::string_view what) const;

  ClientDeviceOwner& owner_;
  ClientAreas& buffers_;
  SleepWord& engine_sleep_;
  const std::uint32_t member_;
  DeviceArea& area_;
  const std::string name_;
  std::atomic<bool> closed_{false};  // by the engine, in good order

  // Held through GetCommand, the wait included.
  Mutex take_mutex_;
  RingConsumer<CommandRecord> commands_ CAPSTAN_GUARDED_BY(take_mutex_);
  SpinBudget spin_ CAPSTAN_GUARDED_BY(take_mutex_);
  bool retired_ CAPSTAN_GUARDED_BY(take_mutex_) = false;
  // A ClearError that came while commands were outstanding.
  std::optional<CommandRecord> held_ CAPSTAN_GUARDED_BY(take_mutex_);
  std::atomic<bool> drained_{false};  // the last of those commands was completed

  // Taken after take_mutex_ where both are.
  Mutex complete_mutex_;
  RingProducer<CompletionRecord> completions_ CAPSTAN_GUARDED_BY(complete_mutex_);
  std::array<Outstanding, kRingCapacity> outstanding_ CAPSTAN_GUARDED_BY(complete_mutex_);
  std::uint32_t outstanding_count_ CAPSTAN_GUARDED_BY(complete_mutex_) = 0;
  bool draining_ CAPSTAN_GUARDED_BY(complete_mutex_) = false;  // a ClearError is held back
  bool io_error_ CAPSTAN_GUARDED_BY(complete_mutex_) = false;
  bool mute_ CAPSTAN_GUARDED_BY(complete_mutex_) = false;  // retired, seen from CompleteCommand
};

}  // namespace capstan::vdi
