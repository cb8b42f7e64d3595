// EngineDevice: the engine's end of one virtual device.
//
// Commands go out under a lock of the senders; completions come in on the set's completion thread,
// which takes no lock: the two meet in the table of commands in flight, entry by entry.
// The engine believes nothing that stands in the segment. A completion names its command by an id
// that must be in the table; everything else about the command is known from private memory.
// Threads: ServerDevice's methods any; the others as marked.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/buffer_pool.h"
#include "vdi/segment_layout.h"
#include "vdi/server_device_set.h"
#include "vdi/spsc_ring.h"

namespace capstan::vdi {

// What the devices of one set share. Constant after EndConfiguration, but for the atomics and what
// guards itself.
struct EngineActivity {
  std::uint32_t block_size = 0;        // every transfer is a multiple of it
  std::uint32_t features = 0;          // the final ones
  std::uint32_t offered_commands = 0;  // see OfferedCommands
  BufferPool buffers;
  std::atomic<bool> aborted{false};  // once true, nothing is sent any more
  // The last process that joined the set; devices of higher ones do not exist.
  std::atomic<std::uint32_t> last_member{0};
  std::atomic<std::uint32_t> in_flight{0};
  std::atomic<std::uint64_t> progress_ns{0};  // when a command last completed, or work began
};

// What a device asks of its set. Called without any lock of the device held.
class EngineDeviceOwner {
 public:
  virtual ~EngineDeviceOwner() = default;
  virtual void AbortSet(Status why) = 0;
  virtual Status AbortedError() const = 0;
  virtual Status CloseDevice(class EngineDevice& device) = 0;
};

class EngineDevice final : public ServerDevice {
 public:
  // All references must outlive the device's use; `area` until Close.
  EngineDevice(EngineDeviceOwner& owner, EngineActivity& activity, DeviceArea& area,
               std::string name);

  const std::string& name() const override { return name_; }
  Status SendCommand(ServerCommand* command) override;
  Status CloseDevice() override { return owner_.CloseDevice(*this); }
  std::uint32_t in_flight() const override { return in_flight_.load(std::memory_order_acquire); }

  // --- the completion thread's ---

  // True if Harvest would do something. Sequentially consistent loads only, for WaitForWork.
  bool HasWork() const;
  // Takes some completions and calls back. `progressed` is set, never cleared.
  // kDataLoss: the client broke the protocol.
  Status Harvest(bool& progressed);
  // Calls everything in flight back with 995. REQUIRES: EngineActivity::aborted.
  void AbortInFlight();

  // --- the set's, under the set's lock ---

  enum class State { kClosed, kOpen, kDone };
  State state() const { return state_.load(std::memory_order_acquire); }
  bool client_opened() const {
    return owner_word_.load(std::memory_order_acquire) != kClientClosed;
  }
  // Whether this member, which has gone, had opened the device, and the engine has not closed it.
  bool LeftOpenBy(std::uint32_t member) const;
  void Open() { state_.store(State::kOpen, std::memory_order_release); }
  // Posts the record that tells the client. kFailedPrecondition: commands are in flight; kDataLoss:
  // the client broke the protocol.
  Status PostClose();
  // The segment is about to vanish: nothing is sent any more.
  void Retire();

 private:
  struct Flight {
    std::atomic<std::uint64_t> id{0};  // 0: free
    ServerCommand* command = nullptr;  // written before `id`, read after it
  };
  enum class SendOutcome {
    kSent,
    kFull,
    kCorrupt,
    kAborted,
    kNotOpen,
    kIoError,
    kNotOffered,
    kNotAlone,
    kBadBuffer,
    kBadSize,
  };

  SendOutcome TrySend(ServerCommand* command) CAPSTAN_EXCLUDES(send_mutex_);
  SendOutcome MaySend(const ServerCommand& command, BufferPool::Place& place) const
      CAPSTAN_REQUIRES(send_mutex_);
  bool IsOffered(const ServerCommand& command) const;
  bool MustWait(const ServerCommand& command) const CAPSTAN_REQUIRES(send_mutex_);
  Flight& ClaimFlight(ServerCommand* command, std::uint64_t& id) CAPSTAN_REQUIRES(send_mutex_);
  Status ErrorOf(SendOutcome outcome, const ServerCommand& command);

  Status NoticeOpening();
  Status Settle(const CompletionRecord& record);
  template <typename... Args>
  Status Broken(fmt::format_string<Args...> what, Args&&... args) const;
  void Land(ServerCommand* command, std::uint64_t now_ns);
  // Lands a command as aborted.
  void Strand(ServerCommand* command);

  EngineDeviceOwner& owner_;
  EngineActivity& activity_;
  DeviceArea& area_;
  const std::string name_;

  std::atomic<State> state_{State::kClosed};
  // The client's word as it was when it opened the device; kClientClosed until then.
  std::atomic<std::uint32_t> owner_word_{kClientClosed};
  std::atomic<bool> io_error_{false};
  std::atomic<bool> clearing_{false};  // a ClearError is in flight
  std::atomic<std::uint32_t> in_flight_{0};
  std::array<Flight, kRingCapacity> flights_;

  mutable Mutex send_mutex_;
  RingProducer<CommandRecord> commands_ CAPSTAN_GUARDED_BY(send_mutex_);
  std::uint64_t serial_ CAPSTAN_GUARDED_BY(send_mutex_) = 0;  // of the last command
  std::uint32_t next_flight_ CAPSTAN_GUARDED_BY(send_mutex_) = 0;

  RingConsumer<CompletionRecord> completions_;  // the completion thread's alone
};

}  // namespace capstan::vdi
