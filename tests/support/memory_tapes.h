// MemoryTapes: a DeviceProvider whose devices have media that can be changed: like a tape, or a
// removable pipe or disk. Cartridges live in memory, so many per device as are asked for. Every set
// is served by a real virtual device client over a real rendezvous socket.
//
// A cartridge has a capacity and a zone at its end: a write that gets there is stored and answered
// with 1100, one that does not fit at all with 1129. Beyond what MemoryDevices shows, the client
// takes several commands before it completes the first (`depth`).
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/engine/device_provider.h"
#include "server/messages/messages.h"
#include "tests/support/device_client.h"
#include "tests/support/memory_devices.h"
#include "vdi/base/guid.h"
#include "vdi/base/mutex.h"
#include "vdi/rendezvous.h"

namespace capstan::test {

struct Cartridge {
  std::vector<std::byte> bytes;
  std::vector<std::size_t> marks;  // filemarks: the offsets that they stand at, ascending
  std::size_t capacity = SIZE_MAX;
};

struct TapeOptions {
  std::uint32_t features = vdi::feature::kLikeTape;
  std::size_t zone = 0;     // bytes at the end of a cartridge that warn
  bool tells_zone = false;  // as EOMWarningSize
  std::uint32_t soft_filemark_block_size = 0;
  std::size_t depth = 1;        // commands that the client holds at the same time
  bool short_warnings = false;  // the first write to warn is stored in part only
  bool no_skipping = false;     // SkipMarks, GetPosition and SetPosition end with 50
  bool stays_mounted = false;   // what was loaded last is what the next set of devices finds
  bool no_locating = false;     // GetPosition and SetPosition alone
};

// A drive with the cartridge that is in it. Threads: one at a time.
class TapeDrive {
 public:
  TapeDrive(const TapeOptions& options, Cartridge* cartridge)
      : options_(options), cartridge_(cartridge) {}

  void Insert(Cartridge* cartridge) {
    cartridge_ = cartridge;
    Rewind();
  }

  Outcome Execute(const vdi::ClientCommand& command) {
    switch (command.code) {
      case vdi::CommandCode::kRead:
        return Read(command);
      case vdi::CommandCode::kWrite:
        return Write(command);
      case vdi::CommandCode::kClearError:
      case vdi::CommandCode::kFlush:
      case vdi::CommandCode::kComplete:
        return {};
      default:
        break;
    }
    if (command.code == vdi::CommandCode::kSetPosition && Has(vdi::feature::kRandomAccess)) {
      return {.position = static_cast<std::int64_t>(cartridge_->bytes.size())};
    }
    return Has(vdi::feature::kFileMarks) ? ExecuteOnTape(command) : NotSupported();
  }

 private:
  static Outcome NotSupported() { return {.code = vdi::CompletionCode::kNotSupported}; }
  bool Has(std::uint32_t feature) const { return (options_.features & feature) != 0; }

  void Rewind() {
    offset_ = 0;
    marks_passed_ = 0;
    short_warned_ = false;
  }

  Outcome ExecuteOnTape(const vdi::ClientCommand& command) {
    if (command.code == vdi::CommandCode::kRewind) {
      Rewind();
      return {};
    }
    if (command.code == vdi::CommandCode::kWriteMark) {
      Truncate();
      cartridge_->marks.push_back(offset_);
      ++marks_passed_;
      return {.code = WriteCode()};
    }
    const bool locates = command.code == vdi::CommandCode::kGetPosition ||
                         command.code == vdi::CommandCode::kSetPosition;
    if (options_.no_skipping || (options_.no_locating && locates)) {
      return NotSupported();
    }
    if (command.code == vdi::CommandCode::kGetPosition) {
      return {.position = Address(marks_passed_)};
    }
    if (command.code == vdi::CommandCode::kSetPosition) {
      return GoTo(command.position);
    }
    if (command.code == vdi::CommandCode::kSkipMarks) {
      for (std::uint32_t i = 0; i < command.size; ++i) {
        if (marks_passed_ == cartridge_->marks.size()) {
          offset_ = cartridge_->bytes.size();
          return {.code = vdi::CompletionCode::kNoDataDetected};
        }
        offset_ = cartridge_->marks[marks_passed_++];
      }
      return {};
    }
    return NotSupported();
  }

  // Blocks of 512 bytes and filemarks count one each.
  std::int64_t Address(std::size_t marks) const {
    return static_cast<std::int64_t>(offset_ / 512 + marks);
  }

  // Only to where something begins that is there: behind a filemark, or at the beginning.
  Outcome GoTo(std::int64_t address) {
    for (std::size_t marks = 0; marks <= cartridge_->marks.size(); ++marks) {
      offset_ = marks == 0 ? 0 : cartridge_->marks[marks - 1];
      if (Address(marks) == address) {
        marks_passed_ = marks;
        return {.position = address};
      }
    }
    Rewind();
    return {.code = vdi::CompletionCode::kNoDataDetected};
  }

  Outcome Read(const vdi::ClientCommand& command) {
    if (Has(vdi::feature::kRandomAccess)) {
      offset_ = std::min(static_cast<std::size_t>(command.position), cartridge_->bytes.size());
    }
    const bool mark_follows = marks_passed_ < cartridge_->marks.size();
    const std::size_t end =
        mark_follows ? cartridge_->marks[marks_passed_] : cartridge_->bytes.size();
    const std::size_t count = std::min<std::size_t>(end - offset_, command.size);
    std::copy_n(cartridge_->bytes.data() + offset_, count, command.buffer);
    offset_ += count;
    if (count == command.size) {
      return {.bytes = command.size};
    }
    marks_passed_ += mark_follows ? 1 : 0;
    return {.code = mark_follows ? vdi::CompletionCode::kFilemarkDetected
                                 : vdi::CompletionCode::kNoDataDetected,
            .bytes = static_cast<std::uint32_t>(count)};
  }

  Outcome Write(const vdi::ClientCommand& command) {
    if (Has(vdi::feature::kRandomAccess)) {
      offset_ = static_cast<std::size_t>(command.position);
      cartridge_->bytes.resize(std::max(cartridge_->bytes.size(), offset_));
    } else {
      Truncate();
    }
    std::size_t size = command.size;
    if (offset_ + size > cartridge_->capacity) {
      return {.code = vdi::CompletionCode::kEomOverflow};
    }
    const std::size_t warns_at =
        cartridge_->capacity - std::min(cartridge_->capacity, options_.zone);
    if (options_.short_warnings && !short_warned_ && offset_ + size > warns_at && size > 4096) {
      short_warned_ = true;
      size = size / 2 / 4096 * 4096;
      size = std::max<std::size_t>(size, 4096);
    }
    cartridge_->bytes.resize(std::max(cartridge_->bytes.size(), offset_ + size));
    std::memcpy(cartridge_->bytes.data() + offset_, command.buffer, size);
    offset_ += size;
    return {.code = size < command.size ? vdi::CompletionCode::kEndOfMedia : WriteCode(),
            .bytes = static_cast<std::uint32_t>(size)};
  }

  // What is written ends what was there.
  void Truncate() {
    cartridge_->bytes.resize(offset_);
    cartridge_->marks.resize(marks_passed_);
  }

  vdi::CompletionCode WriteCode() const {
    return options_.zone > 0 && offset_ + options_.zone > cartridge_->capacity
               ? vdi::CompletionCode::kEndOfMedia
               : vdi::CompletionCode::kSuccess;
  }

  const TapeOptions options_;
  Cartridge* cartridge_;
  std::size_t offset_ = 0;
  std::size_t marks_passed_ = 0;
  bool short_warned_ = false;
};

class MemoryTapes final : public engine::DeviceProvider {
 public:
  explicit MemoryTapes(const std::string& socket_path) {
    auto rendezvous = vdi::Rendezvous::Listen({.path = socket_path});
    CAPSTAN_CHECK(rendezvous.ok());
    rendezvous_ = std::move(rendezvous).value();
  }

  TapeOptions options;  // of the sets that are opened from now on
  // The capacity of a new cartridge. `sequence` counts from 1.
  std::function<std::size_t(const std::string& target, std::size_t sequence)> capacity;
  // Which cartridge is really inserted where this one is asked for; 0 = Load fails.
  std::function<std::size_t(const std::string& target, std::size_t sequence)> offered;
  // Consulted before a command is executed; anything but success ends the command with that code.
  PlannedFault fault;

  Result<engine::ProvidedSet> Open(const engine::DeviceSetRequest& request,
                                   Deadline deadline) override {
    auto client = std::make_unique<Client>();
    client->owner = this;
    client->options = options;
    for (const auto& target : request.targets) {
      client->targets.push_back(target.name);
    }
    const std::string name = Guid::Random().ToString();
    vdi::DeviceSetConfig wishes;
    wishes.device_count = static_cast<std::uint32_t>(request.targets.size());
    wishes.features = options.features;
    wishes.soft_filemark_block_size = options.soft_filemark_block_size;
    wishes.eom_warning_size =
        options.tells_zone ? static_cast<std::uint32_t>(options.zone) : std::uint32_t{0};
    CAPSTAN_ASSIGN_OR_RETURN(client->set,
                             vdi::ClientDeviceSet::Create(rendezvous_->path(), name, wishes));
    engine::ProvidedSet provided;
    for (std::size_t i = 0; i < client->targets.size(); ++i) {
      client->names.push_back(i == 0 ? name : name + std::to_string(i + 1));
    }
    provided.device_names = client->names;
    client->thread = std::jthread([served = client.get()] { served->Run(); });
    clients_.push_back(std::move(client));
    CAPSTAN_ASSIGN_OR_RETURN(provided.set, rendezvous_->Open(name, deadline));
    return provided;
  }

  Status Recover(const std::string&, const engine::DeviceTarget&, engine::RecoverAction,
                 Deadline) override {
    return OkStatus();
  }
  // A drive is there; what its cartridge holds is not known.
  Result<engine::MediumStat> Stat(const std::string&, const engine::DeviceTarget&,
                                  Deadline) override {
    return engine::MediumStat{.exists = true, .size_bytes = 0};
  }
  std::string ErrorDetail(const std::string&, const std::string&) override { return ""; }

  // The cartridges of a target in the order of their sequence. Not while a set works on them.
  std::vector<Cartridge*> cartridges(const std::string& target) {
    MutexLock lock(mutex_);
    std::vector<Cartridge*> found;
    for (const auto& cartridge : shelves_[target]) {
      found.push_back(cartridge.get());
    }
    return found;
  }
  // Loads in the order in which they were asked for: target and sequence number.
  std::vector<std::pair<std::string, std::size_t>> loads() {
    MutexLock lock(mutex_);
    return loads_;
  }
  // What is in the drive.
  void Mount(const std::string& target, std::size_t sequence) {
    MutexLock lock(mutex_);
    mounted_[target] = sequence;
  }
  // Ends all clients, after which cartridges may be looked at.
  void Finish() { clients_.clear(); }

 private:
  struct Client {
    ~Client() {
      set->SignalAbort();
      thread = {};
      [[maybe_unused]] const Status closed = set->Close();
    }

    void Run() {
      if (!set->GetConfiguration(Deadline::Never()).ok()) {  // ends: the engine or the abort
        return;
      }
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < names.size(); ++i) {
        auto device = set->OpenDevice(names[i]);
        if (!device.ok()) {
          set->SignalAbort();
          return;
        }
        threads.emplace_back([this, i, opened = *device] { Serve(i, *opened); });
      }
    }

    void Serve(std::size_t index, vdi::ClientDevice& device) {
      TapeDrive drive(options, owner->MountedAt(targets[index]));
      std::vector<vdi::ClientCommand> held;
      while (true) {
        while (held.size() < options.depth) {
          auto command = device.GetCommand(
              held.empty() ? Deadline::Never()
                           : Deadline::After(std::chrono::milliseconds(options.depth > 1 ? 1 : 0)));
          if (command.status().code() == Code::kDeadlineExceeded) {
            break;
          }
          if (!command.ok() || !command->has_value()) {
            return;
          }
          held.push_back(**command);
          if (held.back().code != vdi::CommandCode::kWrite &&
              held.back().code != vdi::CommandCode::kRead) {
            break;
          }
        }
        bool cut_short = false;
        for (const vdi::ClientCommand& command : held) {
          // What was taken too early is not executed out of turn.
          const Outcome outcome = cut_short ? Outcome{.code = vdi::CompletionCode::kIoDevice}
                                            : owner->Execute(targets[index], index, drive, command);
          cut_short = cut_short ||
                      (outcome.code == vdi::CompletionCode::kEndOfMedia &&
                       command.code == vdi::CommandCode::kWrite && outcome.bytes < command.size);
          if (!device.CompleteCommand(command.id, outcome.code, outcome.bytes, outcome.position)
                   .ok()) {
            return;
          }
        }
        held.clear();
      }
    }

    MemoryTapes* owner = nullptr;
    TapeOptions options;
    std::vector<std::string> targets;
    std::vector<std::string> names;
    std::unique_ptr<vdi::ClientDeviceSet> set;
    std::jthread thread;  // waits for the configuration; starts and joins one per device
  };

  Outcome Execute(const std::string& target, std::size_t device, TapeDrive& drive,
                  const vdi::ClientCommand& command) {
    if (const auto code = fault(device, command); code != vdi::CompletionCode::kSuccess) {
      return {.code = code};
    }
    if (command.code != vdi::CommandCode::kLoad) {
      // Locked for ThreadSanitizer, as PlannedFault: runs follow one another.
      MutexLock lock(mutex_);
      return drive.Execute(command);
    }
    const std::size_t inserted = offered ? offered(target, command.size) : command.size;
    {
      MutexLock lock(mutex_);
      loads_.emplace_back(target, command.size);
    }
    if (inserted == 0) {
      return {.code = vdi::CompletionCode::kNoMediaInDrive};
    }
    Cartridge* cartridge = CartridgeAt(target, inserted);
    MutexLock lock(mutex_);
    if (options.stays_mounted) {
      mounted_[target] = inserted;
    }
    drive.Insert(cartridge);
    return {};
  }

  Cartridge* MountedAt(const std::string& target) {
    std::size_t sequence = 1;
    {
      MutexLock lock(mutex_);
      const auto found = mounted_.find(target);
      sequence = found == mounted_.end() ? sequence : found->second;
    }
    return CartridgeAt(target, sequence);
  }

  Cartridge* CartridgeAt(const std::string& target, std::size_t sequence) {
    MutexLock lock(mutex_);
    auto& shelf = shelves_[target];
    while (shelf.size() < sequence) {
      shelf.push_back(std::make_unique<Cartridge>());
      if (capacity) {
        shelf.back()->capacity = capacity(target, shelf.size());
      }
    }
    return shelf[sequence - 1].get();
  }

  Mutex mutex_;
  std::map<std::string, std::vector<std::unique_ptr<Cartridge>>> shelves_
      CAPSTAN_GUARDED_BY(mutex_);
  std::map<std::string, std::size_t> mounted_ CAPSTAN_GUARDED_BY(mutex_);  // sequence numbers
  std::vector<std::pair<std::string, std::size_t>> loads_ CAPSTAN_GUARDED_BY(mutex_);
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace capstan::test
