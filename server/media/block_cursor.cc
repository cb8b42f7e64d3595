#include "server/media/block_cursor.h"

#include <algorithm>

#include "server/media/medium_error.h"

namespace capstan::media {
namespace {

constexpr std::uint64_t kReadSize = 4096;
// How far a next block is looked for where none stands: longer than any padding of a small medium,
// short enough not to read through a large one.
constexpr std::uint64_t kScanMax = 1U << 20;
constexpr std::uint64_t kLengthMax = std::uint64_t{1} << 62;

bool IsBlockHeader(const BlockHeader& header) {
  const auto type = static_cast<std::uint32_t>(header.type);
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t letter = type >> (8 * i) & 0xFF;
    if (letter < 0x20 || letter > 0x7E) {
      return false;
    }
  }
  return HeaderIsSound(header);
}

}  // namespace

void BlockCursor::UseGeometry(std::uint32_t format_logical_block, std::uint32_t filemark_size) {
  format_logical_block_ = format_logical_block;
  filemark_size_ = filemark_size;
}

Result<Bytes> BlockCursor::At(std::uint64_t offset, std::uint64_t size) {
  if (offset < window_offset_ || size > kWindowMax) {
    return MediumDamaged(source_->device_name(), offset, "place or size of a stream");
  }
  if (pinned_ && offset + size - *pinned_ > kWindowMax) {
    pinned_.reset();
  }
  const std::uint64_t keep = std::min(offset, pinned_.value_or(offset));
  std::uint64_t end = window_offset_ + window_.size();
  if (keep >= end) {
    window_.clear();
    window_offset_ = keep;
    end = keep;
    window_at_end_ = false;
  } else if (offset + size > end) {
    window_.erase(window_.begin(),
                  window_.begin() + static_cast<std::ptrdiff_t>(keep - window_offset_));
    window_offset_ = keep;
  }
  while (offset + size > end && !window_at_end_) {
    // Piece by piece, so that a length that nothing stands behind is not allocated.
    const std::size_t before = window_.size();
    const std::uint64_t missing = offset + size - end;
    const std::size_t wanted =
        std::max(kReadSize, std::min<std::uint64_t>(RoundUp(missing, kReadSize), 64 * kReadSize));
    window_.resize(before + wanted);
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled,
                             source_->ReadAt(end, std::span(window_).subspan(before)));
    window_.resize(before + filled);
    window_at_end_ = filled < wanted;
    end += filled;
  }
  const std::uint64_t start = std::min<std::uint64_t>(offset - window_offset_, window_.size());
  const Bytes rest = Bytes(window_).subspan(start);
  return rest.first(std::min<std::uint64_t>(rest.size(), size));
}

std::uint64_t BlockCursor::NextBoundary(std::uint64_t offset) const {
  return origin_ + RoundUp(offset - origin_, format_logical_block_);
}

Result<bool> BlockCursor::BlockStandsAt(std::uint64_t offset) {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, At(offset, sizeof(BlockHeader)));
  return bytes.size() == sizeof(BlockHeader) && IsBlockHeader(LoadStruct<BlockHeader>(bytes));
}

Result<std::optional<BlockPosition>> BlockCursor::NextBlock() {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, At(offset_, sizeof(BlockHeader)));
  if (bytes.size() < sizeof(BlockHeader)) {
    truncated_ = truncated_ || !bytes.empty();
    return std::optional<BlockPosition>();
  }
  BlockPosition block{.header = LoadStruct<BlockHeader>(bytes), .offset = offset_};
  if (!IsBlockHeader(block.header)) {
    return MediumDamaged(source_->device_name(), offset_, "block header");
  }
  const std::uint32_t size = block.header.first_event_offset;
  if (block.header.type == BlockType::kSoftFilemark) {
    // Its own size has 16 bits; only where those were too few does the TAPE block know better.
    offset_ += size >= 512 ? size : std::max<std::uint32_t>(filemark_size_, 512);
    origin_ = offset_;
  } else if (size < sizeof(BlockHeader)) {
    return MediumDamaged(source_->device_name(), offset_, "block size");
  } else {
    offset_ += size;
  }
  return std::optional(block);
}

// Streams stand on multiples of 4; some writers put them right behind the data before.
Result<std::optional<StreamPosition>> BlockCursor::SoundStream() {
  const std::uint64_t fill = RoundUp(offset_ - origin_, 4) - (offset_ - origin_);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, At(offset_, fill + sizeof(StreamHeader)));
  for (const std::uint64_t start : {fill, std::uint64_t{0}}) {
    if (start + sizeof(StreamHeader) > bytes.size()) {
      continue;
    }
    const auto header = LoadStruct<StreamHeader>(bytes.subspan(start));
    if (HeaderIsSound(header)) {
      return std::optional(
          StreamPosition{.header = header, .data_offset = offset_ + start + sizeof(StreamHeader)});
    }
  }
  return std::optional<StreamPosition>();
}

Result<std::optional<StreamPosition>> BlockCursor::NextStream() {
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<StreamPosition> stream, SoundStream());
  if (!stream) {
    return EndOfBlock();
  }
  if (stream->header.length > kLengthMax) {
    return MediumDamaged(source_->device_name(), offset_, "stream length");
  }
  offset_ = stream->data_offset + stream->header.length;
  if (const std::uint64_t size = source_->size_bytes(); size != 0 && offset_ > size) {
    truncated_ = true;
    return std::optional<StreamPosition>();
  }
  if (stream->header.type == StreamType::kPad) {
    offset_ = NextBoundary(offset_);
    return std::optional<StreamPosition>();
  }
  return stream;
}

// No stream header where one should be: old writers end a block without padding.
Result<std::optional<StreamPosition>> BlockCursor::EndOfBlock() {
  const std::uint64_t start = NextBoundary(offset_);
  for (std::uint64_t at = start; at < start + kScanMax; at += format_logical_block_) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool stands, BlockStandsAt(at));
    if (stands) {
      offset_ = at;
      return std::optional<StreamPosition>();
    }
    CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, At(at, 1));
    if (bytes.empty()) {
      truncated_ = true;
      offset_ = at;  // there is nothing to go back to
      return std::optional<StreamPosition>();
    }
  }
  return MediumDamaged(source_->device_name(), offset_, "stream header");
}

void BlockCursor::ContinueAt(std::uint64_t offset) {
  offset_ = offset;
}

void BlockCursor::ContinueBehindFilemark(std::uint64_t offset) {
  origin_ = offset;
  offset_ = offset;
}

}  // namespace capstan::media
