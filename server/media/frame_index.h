// The frame index of the family being written: 24 or 32 bytes per frame, in blocks that never move,
// so that adding to it costs the same for the first frame and the millionth.
//
// Internal to server/media. Threads: one at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "server/media/frame.h"

namespace capstan::media {

class FrameIndex {
 public:
  explicit FrameIndex(bool packed) : record_size_(IndexRecord::SizeOf(packed)) {}

  // REQUIRES: the record is of a packed set, or is not, as the index.
  void Add(const IndexRecord& record, std::uint32_t payload_bytes) {
    const std::size_t slot = summary_.frame_count % kBlockRecords;
    if (slot == 0) {
      blocks_.push_back(std::make_unique<std::byte[]>(block_size()));
    }
    std::memcpy(blocks_.back().get() + slot * record_size_, record.bytes().data(), record_size_);
    summary_.frame_count += 1;
    summary_.payload_bytes += payload_bytes;
    summary_.digest = Crc32c(summary_.digest, record.bytes());
  }

  // family_number is left to the owner.
  const FamilySummary& summary() const { return summary_; }
  std::uint64_t size_bytes() const { return summary_.frame_count * record_size_; }

  // What there is from byte `offset` on, as far as it lies together. REQUIRES: offset <
  // size_bytes().
  Bytes BytesFrom(std::uint64_t offset) const {
    const std::uint64_t start = offset / block_size() * block_size();
    const std::uint64_t end = std::min<std::uint64_t>(size_bytes() - start, block_size());
    return Bytes(blocks_[offset / block_size()].get(), end).subspan(offset - start);
  }

 private:
  static constexpr std::size_t kBlockRecords = 4096;
  std::size_t block_size() const { return kBlockRecords * record_size_; }

  const std::size_t record_size_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  FamilySummary summary_;
};

}  // namespace capstan::media
