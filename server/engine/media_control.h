// MediaControl: the commands that concern the medium in one device rather than its data: find its
// beginning, leave IO-ERROR, filemarks, positions, and the change to another medium. Each is waited
// for.
//
// A medium is mounted when the device is opened: Load is sent for the second one of a family and
// those that follow, and for the first only if the device says that there is none. Its size is the
// wanted media sequence number, from 1. Who answers it (a person, a robot, a client with a folder
// of cartridges) may take any time: Load does not count as a stall, and ends when the job does.
//
// Threads: one at a time; nothing else in flight on the device.
#pragma once

#include <cstdint>
#include <optional>

#include "server/engine/first_error.h"
#include "server/engine/open_set.h"

namespace capstan::engine {

class MediaControl {
 public:
  // All must outlive it. `error` is where the job's failure shows.
  MediaControl(OpenSet& set, DeviceChannel& channel, Direction direction, const FirstError& error)
      : set_(set), channel_(channel), direction_(direction), error_(error) {}

  // The first medium: to its beginning, where the device can go there.
  Status Begin();
  // Ends the use of the current medium and waits for another one, at its beginning.
  Status Load(std::uint16_t sequence_number);

  // VDI specification, "Error Recovery": after a failing completion, once nothing is in flight.
  Status ClearError();
  Status Flush() { return Require(vdi::CommandCode::kFlush, 0); }
  Status Rewind();

  // True if the medium has warned of its end (1100): the filemark was written all the same.
  Result<bool> WriteFilemark();
  // The device's own block address; nothing if it cannot say.
  Result<std::optional<std::uint64_t>> Position();
  // False at the end of the data.
  Result<bool> SkipFilemarks(std::uint32_t count);
  // From anywhere, by the device's address if there is one. 3203 or 3202 if the medium ends before.
  Status GoTo(const media::TapePlace& place);

 private:
  Result<vdi::CompletionCode> Execute(vdi::CommandCode code, std::uint32_t size,
                                      std::int64_t* position = nullptr);
  // Anything but success is an error.
  Status Require(vdi::CommandCode code, std::uint32_t size);
  Status Mount(std::uint16_t sequence_number);
  // False if the device does not go to addresses.
  Result<bool> Locate(std::uint64_t block);

  OpenSet& set_;
  DeviceChannel& channel_;
  const Direction direction_;
  const FirstError& error_;
  bool positions_ = true;  // it has answered GetPosition so far
};

}  // namespace capstan::engine
