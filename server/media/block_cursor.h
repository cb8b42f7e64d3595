// BlockCursor: walks a MediumSource from block to block and from stream to stream, reading headers
// and skipping data, so that listing a medium costs a few small reads.
//
// Made for media of every writer: what the specification leaves open or old programs got wrong
// (padding left out, stream headers that are not aligned) is decided by checksum, as MTF readers
// do. A byte is never asked for twice and offsets only grow, so that forward-only media will do.
// Ends are values, damage is an error; nothing is allocated beyond kWindowMax.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "server/media/block_composer.h"
#include "server/media/family_reader.h"
#include "server/media/mtf_values.h"

namespace capstan::media {

struct BlockPosition {
  BlockHeader header;
  std::uint64_t offset = 0;
};

struct StreamPosition {
  StreamHeader header;
  std::uint64_t data_offset = 0;
};

class BlockCursor {
 public:
  static constexpr std::uint64_t kWindowMax = 64U << 20;

  // `source` must outlive the cursor.
  explicit BlockCursor(MediumSource* source) : source_(source) {}

  // From the TAPE block. Before that, blocks of 1024 and no filemarks.
  void UseGeometry(std::uint32_t format_logical_block, std::uint32_t filemark_size);

  // The block at the current place, or nothing if the medium ends there.
  Result<std::optional<BlockPosition>> NextBlock();
  // The current block's next stream, or nothing behind the last one: then the place is that of the
  // next block. Nothing as well if the medium ends; truncated() tells.
  Result<std::optional<StreamPosition>> NextStream();
  // Goes on with the next block at `offset`. REQUIRES: offset is not behind the current place.
  void ContinueAt(std::uint64_t offset);
  // The same where a filemark ends at `offset`: the blocks' grid counts from there.
  void ContinueBehindFilemark(std::uint64_t offset);

  // Up to `size` bytes from `offset` on, fewer only where the medium ends; valid until the next
  // call. An error if that is no longer within reach: behind neither the last one asked for nor the
  // pinned one.
  Result<Bytes> At(std::uint64_t offset, std::uint64_t size);
  // Bytes from `offset` on stay within reach of At(), up to kWindowMax.
  void Pin(std::uint64_t offset) { pinned_ = offset; }
  void Unpin() { pinned_.reset(); }

  const std::string& device_name() const { return source_->device_name(); }
  bool truncated() const { return truncated_; }
  std::uint64_t offset() const { return offset_; }

 private:
  Result<std::optional<StreamPosition>> SoundStream();
  Result<bool> BlockStandsAt(std::uint64_t offset);
  Result<std::optional<StreamPosition>> EndOfBlock();
  std::uint64_t NextBoundary(std::uint64_t offset) const;

  MediumSource* const source_;
  std::uint32_t format_logical_block_ = kFormatLogicalBlock;
  std::uint32_t filemark_size_ = 0;
  std::uint64_t origin_ = 0;  // of the block grid: behind the last filemark
  std::uint64_t offset_ = 0;
  bool truncated_ = false;

  ByteVector window_;
  std::uint64_t window_offset_ = 0;
  bool window_at_end_ = false;  // the medium ends where the window does
  std::optional<std::uint64_t> pinned_;
};

}  // namespace capstan::media
