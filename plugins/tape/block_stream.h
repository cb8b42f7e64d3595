// BlockStream: the bytes between two filemarks, on a medium that has blocks.
//
// A WRITE becomes blocks of the block size, straight from the engine's buffer, the last one
// shorter. A READ takes blocks of any size, straight into the engine's buffer where they fit; a
// block that crosses its end is kept for the next one.
//
// Room: the drive warns of the end of the medium by itself, and so does this as soon as less is
// left than the reserve, where the drive can tell what is left. A write that does not fit is not
// begun, or taken back by spacing in front of it: whatever is written next ends the medium there.
//
// After a write that failed, nothing is written until ClearError: what is behind it in the queue
// must not take its place.
//
// Threads: the drive's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plugins/tape/outcome.h"
#include "plugins/tape/positioner.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

class BlockStream {
 public:
  // `drive` outlives it. `block_size`: of blocks that are written, cut to what the drive can.
  BlockStream(TapeDrive& drive, std::uint32_t block_size);

  // Another cartridge, at its beginning.
  void Mounted();
  // Bytes that must fit behind the warning; of a small cartridge a quarter at most.
  void set_reserve(std::uint64_t bytes) { reserve_ = bytes; }

  Done Read(std::span<std::byte> target);
  Done Write(std::span<const std::byte> bytes);
  Done WriteMark();
  Done Flush();
  Done Rewind();
  Done SkipMarks(std::int64_t count);
  Done SkipBlocks(std::int64_t count);
  Done GetPosition();
  // `whence`: 0 the beginning, 1 here, 2 the end.
  Done SetPosition(std::uint32_t whence, std::int64_t position);
  void ClearError() { broken_ = false; }
  // As after a write that failed.
  void Break() { broken_ = true; }
  bool broken() const { return broken_; }

 private:
  std::size_t held() const { return held_end_ - held_begin_; }
  std::size_t TakeHeld(std::span<std::byte> target);
  Answer ReadInto(std::span<std::byte> target, std::size_t* filled);
  Answer ReadHeld();
  Done Moved(const Answer& answer, std::int32_t op);
  std::uint64_t Taken(std::size_t size) const;
  std::optional<Done> WhyNotWritable(std::size_t size) const;
  Done WriteFailed(const Answer& answer, std::size_t blocks, std::size_t bytes);
  void MeasureRoom();
  bool IsNearlyFull(bool drive_warns) const;

  TapeDrive& drive_;
  Positioner positioner_;
  const std::uint32_t block_size_;

  // A block that was read and not wholly asked for; the drive stands behind it.
  std::vector<std::byte> held_;
  std::size_t held_begin_ = 0;
  std::size_t held_end_ = 0;
  std::size_t longest_block_;  // that the medium is known to hold

  std::uint64_t reserve_ = 0;
  bool measured_ = false;              // room_ counts from this place on
  std::optional<std::uint64_t> room_;  // bytes behind what was written; nullopt: unknown
  std::uint64_t reserve_max_ = UINT64_MAX;
  bool broken_ = false;
};

}  // namespace capstan::tape
