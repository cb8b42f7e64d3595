// The frame index of the family being written: 24 bytes per frame, in blocks that never move, so
// that adding to it costs the same for the first frame and the millionth.
//
// Internal to server/media. Threads: one at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "server/media/frame.h"

namespace capstan::media {

class FrameIndex {
 public:
  void Add(const FrameExtent& extent) {
    const std::size_t slot = summary_.frame_count % kBlockEntries;
    if (slot == 0) {
      blocks_.push_back(std::make_unique<Block>());
    }
    IndexEntry& entry = (*blocks_.back())[slot];
    entry = MakeIndexEntry(extent);
    summary_.frame_count += 1;
    summary_.payload_bytes += extent.length;
    summary_.digest = Crc32c(summary_.digest, AsBytes(entry));
  }

  // family_number is left to the owner.
  const FamilySummary& summary() const { return summary_; }
  std::uint64_t size_bytes() const { return summary_.frame_count * sizeof(IndexEntry); }

  // What there is from byte `offset` on, as far as it lies together. REQUIRES: offset <
  // size_bytes().
  Bytes BytesFrom(std::uint64_t offset) const {
    const std::uint64_t start = offset / sizeof(Block) * sizeof(Block);
    const Bytes block = AsBytes(*blocks_[offset / sizeof(Block)]);
    const std::uint64_t end = std::min<std::uint64_t>(size_bytes() - start, sizeof(Block));
    return block.subspan(offset - start, end - (offset - start));
  }

 private:
  static constexpr std::size_t kBlockEntries = 4096;
  using Block = std::array<IndexEntry, kBlockEntries>;

  std::vector<std::unique_ptr<Block>> blocks_;
  FamilySummary summary_;
};

}  // namespace capstan::media
