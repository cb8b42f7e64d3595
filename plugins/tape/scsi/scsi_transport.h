// ScsiTransport: carries commands to one logical unit. Implemented by iSCSI, by the kernel's SG_IO,
// and by a scripted one in tests.
//
// Threads: one at a time, the destructor included.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "plugins/tape/scsi/scsi_commands.h"

namespace capstan::tape {

struct ScsiCommand {
  CommandBlock block;
  std::chrono::milliseconds timeout;
  // At most one of the two.
  std::span<const std::byte> data_out = {};
  std::span<std::byte> data_in = {};
};

enum class ScsiStatus : std::uint8_t {
  kGood = 0x00,
  kCheckCondition = 0x02,
  kBusy = 0x08,
  kReservationConflict = 0x18,
  kTaskSetFull = 0x28,
};

struct ScsiResult {
  // Not empty: the command did not get there, or its answer not back. Whether it was done is
  // unknown.
  std::string transport_error = {};
  int os_error = 0;                       // beside transport_error
  ScsiStatus status = ScsiStatus::kGood;  // or another number
  std::vector<std::uint8_t> sense = {};   // kCheckCondition
  std::size_t received = 0;               // bytes of data_in
};

class ScsiTransport {
 public:
  virtual ~ScsiTransport() = default;

  // Returns when the device has answered, or behind the deadline.
  virtual ScsiResult Execute(const ScsiCommand& command) = 0;

  virtual std::string mode() const = 0;  // for example "iSCSI"
};

}  // namespace capstan::tape
