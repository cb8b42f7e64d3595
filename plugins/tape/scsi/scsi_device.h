// ScsiDevice: one logical unit; asks it, and puts what it answers into terms of TapeDrive.
//
// Threads: Ask from one at a time; busy_us from any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "plugins/tape/scsi/scsi_answers.h"
#include "plugins/tape/scsi/scsi_sense.h"
#include "plugins/tape/scsi/scsi_transport.h"

namespace capstan::tape {

// How long a device may take at most. What vendors of LTO drives recommend, rounded up: the first
// load of a new LTO-9 cartridge alone takes up to two hours.
inline constexpr std::chrono::milliseconds kQuickTimeout{60'000};
inline constexpr std::chrono::milliseconds kTransferTimeout{25 * 60'000};
inline constexpr std::chrono::milliseconds kMotionTimeout{60 * 60'000};
inline constexpr std::chrono::milliseconds kLoadTimeout{150 * 60'000};

struct ScsiReply {
  Answer answer = {};
  std::optional<Sense> sense = {};  // if there was any
  std::size_t received = 0;         // bytes of data_in
};

class ScsiDevice {
 public:
  // `name` is what messages call it.
  ScsiDevice(std::string name, std::unique_ptr<ScsiTransport> transport);

  // `action` completes "unable to ... 'name'", for example "write to".
  ScsiReply Ask(const ScsiCommand& command, CommandKind kind, std::string_view action);
  // The same for commands that neither move data nor are kind to anything.
  Answer Do(const CommandBlock& block, std::chrono::milliseconds timeout, std::string_view action);

  // Nothing if it is such a device and answers. Takes up to some unit attentions, which are there
  // after every login.
  Failure Greet(PeripheralType type);

  const std::string& name() const { return name_; }
  std::string mode() const { return transport_->mode(); }
  std::uint64_t busy_us() const { return busy_us_.load(std::memory_order_relaxed); }
  const InquiryAnswer& inquiry() const { return inquiry_; }

 private:
  const std::string name_;
  const std::unique_ptr<ScsiTransport> transport_;
  std::atomic<std::uint64_t> busy_us_{0};
  InquiryAnswer inquiry_;
};

}  // namespace capstan::tape
