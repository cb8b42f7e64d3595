// RestoredFrames: which frames of a backup set an interrupted restore has put into the database,
// each with a checksum of what they hold there. A restore that goes on looks at all of them again,
// and leaves out on the media those that are right.
//
// Threads: constant but for MarkRight, which takes each index once; what it has marked is seen by
// those who are told of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/media/family_writer.h"
#include "vdi/base/status.h"

namespace capstan::engine {

struct RestoredFrame {
  media::FrameExtent extent;
  std::uint32_t contents_crc32c = 0;  // of the bytes as they are in the database
};

// As the catalog keeps them. What is encoded by several calls may be decoded at once.
std::string EncodeFrames(std::span<const RestoredFrame> frames);
// kDataLoss unless EncodeFrames made it.
Result<std::vector<RestoredFrame>> DecodeFrames(std::string_view encoded);

class RestoredFrames {
 public:
  RestoredFrames() = default;
  // Of a frame that is there more than once, the last one counts.
  explicit RestoredFrames(std::vector<RestoredFrame> frames);

  bool empty() const { return frames_.empty(); }
  std::size_t size() const { return frames_.size(); }
  const RestoredFrame& operator[](std::size_t index) const { return frames_[index]; }

  void MarkRight(std::size_t index) { right_[index] = true; }
  bool is_right(std::size_t index) const { return right_[index] != 0; }
  std::uint64_t right_bytes() const;

  // A frame as a medium has it. kOther: the restore that was interrupted met another one with this
  // sequence number, so this is not the set that it read.
  enum class Match { kUnknown, kRestored, kOther };
  Match Find(const media::FrameExtent& frame) const;
  // It was restored and is right.
  bool Covers(const media::FrameExtent& frame) const;

 private:
  // Index into frames_, or its size.
  std::size_t IndexOf(std::uint64_t sequence) const;

  std::vector<RestoredFrame> frames_;  // ascending by sequence
  std::vector<unsigned char> right_;   // by index; bytes, so that threads may write them
};

}  // namespace capstan::engine
