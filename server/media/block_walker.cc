#include "server/media/block_walker.h"

#include <algorithm>
#include <utility>

#include "server/media/frame.h"
#include "server/media/medium_error.h"

namespace capstan::media {
namespace {

bool StartsCoverage(BlockType type) {
  return type == BlockType::kTape || type == BlockType::kSet || type == BlockType::kFile ||
         type == BlockType::kEndOfSet || type == BlockType::kEndOfMedium;
}

}  // namespace

BlockWalker::BlockWalker(std::string device_name, BlockSink* sink)
    : device_name_(std::move(device_name)), sink_(sink) {}

Status BlockWalker::Damaged(std::uint64_t at, std::string_view what) const {
  return MediumDamaged(device_name_, at, what);
}

Status BlockWalker::Consume(Bytes chunk) {
  while (!stopped_) {
    if (pending_.size() + chunk.size() < need_) {
      AppendBytes(&pending_, chunk);
      return OkStatus();
    }
    taken_ = 0;
    if (pending_.empty()) {
      if (Status status = Step(chunk); !status.ok()) {
        CAPSTAN_RETURN_IF_ERROR(Recover(std::move(status)));
      }
      chunk = chunk.subspan(taken_);
      continue;
    }
    if (pending_.size() < need_) {
      const std::size_t missing = need_ - pending_.size();
      AppendBytes(&pending_, chunk.first(missing));
      chunk = chunk.subspan(missing);
    }
    if (Status status = Step(pending_); !status.ok()) {
      CAPSTAN_RETURN_IF_ERROR(Recover(std::move(status)));
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(taken_));
  }
  return OkStatus();
}

void BlockWalker::Restart() {
  Interrupt();
  stopped_ = false;
  offset_ = 0;
  origin_ = 0;
  frame_size_ = 0;
  format_logical_block_ = kFormatLogicalBlock;
}

void BlockWalker::ContinueAt(std::uint64_t offset) {
  Interrupt();
  stopped_ = false;
  offset_ = offset;
  origin_ = offset;
}

void BlockWalker::Interrupt() {
  offset_ += pending_.size();
  pending_.clear();
  collected_.clear();
  seal_checked_ = false;
  origin_ = offset_;
  ExpectBlock();
}

bool BlockWalker::CheckSeal(Bytes last_bytes) {
  constexpr std::size_t kCrcSize = sizeof(StreamSeal::crc32c);
  if (last_bytes.size() < sizeof(StreamSeal)) {
    return false;
  }
  seal_checked_ = true;
  const auto seal = LoadStruct<StreamSeal>(last_bytes.last(sizeof(StreamSeal)));
  const Bytes before_crc = last_bytes.first(last_bytes.size() - kCrcSize);
  return seal.covered == covered_size_ + before_crc.size() &&
         seal.crc32c == Crc32c(covered_crc_, before_crc);
}

Status BlockWalker::Step(Bytes available) {
  switch (state_) {
    case State::kBlockHeader:
      return StepBlockHeader(available);
    case State::kBlockBody:
      return StepBlockBody(available);
    case State::kStreamHeader:
      return StepStreamHeader(available);
    case State::kStreamData:
      return StepStreamData(available);
    case State::kScan:
      return StepScan(available);
  }
  return OkStatus();
}

Status BlockWalker::Recover(Status failure) {
  CAPSTAN_RETURN_IF_ERROR(sink_->OnDamage(std::move(failure), offset_));
  const bool in_streams = state_ == State::kStreamHeader || state_ == State::kStreamData;
  const std::size_t beyond = (offset_ - origin_) % kPhysicalBlock;
  // A block that has just been found bad is not looked at again.
  scan_skip_ = beyond == 0 && in_streams ? 0 : kPhysicalBlock - beyond;
  collected_.clear();
  seal_checked_ = false;
  state_ = State::kScan;
  need_ = scan_skip_ > 0 ? 1 : kPhysicalBlock;
  return OkStatus();
}

Status BlockWalker::StepScan(Bytes available) {
  std::size_t passed = std::min(available.size(), scan_skip_);
  if (passed == 0) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool landed, sink_->OnScan(available.first(kPhysicalBlock)));
    if (landed) {
      ExpectBlock();
      return OkStatus();
    }
    passed = scan_skip_ = kPhysicalBlock;
  }
  scan_skip_ -= passed;
  taken_ += passed;
  offset_ += passed;
  need_ = scan_skip_ > 0 ? 1 : kPhysicalBlock;
  return OkStatus();
}

Status BlockWalker::StepBlockHeader(Bytes available) {
  block_ = LoadStruct<BlockHeader>(available);
  const bool sound = HeaderIsSound(block_);
  if (offset_ == 0 && (!sound || block_.type != BlockType::kTape)) {
    return NotTapeFormat(device_name_, available);
  }
  if (!sound) {
    return Damaged(offset_, "block header");
  }
  if (StartsCoverage(block_.type)) {
    covered_crc_ = 0;
    covered_size_ = 0;
  }
  if (frame_size_ != 0 && block_.type == BlockType::kFile) {
    return StepFrame(available);
  }
  const std::size_t size = block_.first_event_offset;
  const bool filemark = block_.type == BlockType::kSoftFilemark;
  if (size < sizeof(BlockHeader) || (filemark ? size % 512 != 0 : size > format_logical_block_)) {
    return Damaged(offset_, "block size");
  }
  need_ = size;
  state_ = State::kBlockBody;
  return OkStatus();
}

Status BlockWalker::StepFrame(Bytes available) {
  std::uint32_t size = frame_size_;
  if (packing_ != 0) {
    if (available.size() < kFormatLogicalBlock) {
      need_ = kFormatLogicalBlock;
      return OkStatus();
    }
    size = PackedFrameSize(available.first(kFormatLogicalBlock), packing_, frame_size_);
    if (size == 0) {
      return Damaged(offset_, "file block or frame header");
    }
  }
  if (available.size() < size) {
    need_ = size;
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(sink_->OnFrame(available.first(size)));
  origin_ = offset_;
  taken_ = size;
  offset_ += size;
  need_ = sizeof(BlockHeader);
  return OkStatus();
}

Status BlockWalker::StepBlockBody(Bytes available) {
  const Bytes block = available.first(need_);
  CAPSTAN_RETURN_IF_ERROR(sink_->OnBlock(block_, block));
  Advance(block);
  if (block_.type == BlockType::kSoftFilemark) {
    origin_ = offset_;
    ExpectBlock();
    return OkStatus();
  }
  ExpectStreamHeader();
  return OkStatus();
}

Status BlockWalker::StepStreamHeader(Bytes available) {
  const std::size_t fill = StreamFill();
  stream_ = LoadStruct<StreamHeader>(available.subspan(fill));
  if (!HeaderIsSound(stream_)) {
    return Damaged(offset_ + fill, "stream header");
  }
  if (!AllZero(available.first(fill))) {
    return Damaged(offset_, "fill in front of a stream header");
  }
  Advance(available.first(fill + sizeof(StreamHeader)));
  return BeginStreamData();
}

Status BlockWalker::BeginStreamData() {
  if (stream_.type == StreamType::kPad) {
    use_ = StreamUse::kZeros;
    if (stream_.length > kTransferSizeMax ||
        (offset_ - origin_ + stream_.length) % format_logical_block_ != 0) {
      return Damaged(offset_ - sizeof(StreamHeader), "padding size");
    }
  } else {
    CAPSTAN_ASSIGN_OR_RETURN(use_, sink_->OnStream(stream_));
  }
  state_ = State::kStreamData;
  stream_remaining_ = stream_.length;
  collected_.clear();
  if (stream_remaining_ == 0) {
    return EndStream();
  }
  ExpectStreamData();
  return OkStatus();
}

Status BlockWalker::StepStreamData(Bytes available) {
  Bytes piece = available.first(
      static_cast<std::size_t>(std::min<std::uint64_t>(available.size(), stream_remaining_)));
  if (use_ == StreamUse::kCollect) {
    AppendBytes(&collected_, piece);
    taken_ = piece.size();
    offset_ += piece.size();
    stream_remaining_ -= piece.size();
    return stream_remaining_ == 0 ? EndStream() : OkStatus();
  }
  if (use_ == StreamUse::kZeros && !AllZero(piece)) {
    return Damaged(offset_, "padding");
  }
  if (use_ == StreamUse::kRecords) {
    if (piece.size() < need_) {
      return Damaged(offset_, "stream length");
    }
    piece = piece.first(static_cast<std::size_t>(
        std::min<std::uint64_t>(piece.size() / need_ * need_, sink_->next_records().size_bytes)));
    CAPSTAN_RETURN_IF_ERROR(sink_->OnStreamData(stream_, piece));
  }
  Advance(piece);
  stream_remaining_ -= piece.size();
  if (stream_remaining_ == 0) {
    return EndStream();
  }
  ExpectStreamData();
  return OkStatus();
}

Status BlockWalker::EndStream() {
  if (use_ == StreamUse::kCollect) {
    // Positions in messages and coverage count from the stream's data.
    offset_ -= collected_.size();
    if (Status status = sink_->OnStreamData(stream_, collected_); !status.ok()) {
      offset_ += collected_.size();
      return status;
    }
    const std::size_t taken = std::exchange(taken_, 0);
    Advance(collected_);
    taken_ = taken;
  }
  if (stream_.type != StreamType::kPad) {
    ExpectStreamHeader();
    return OkStatus();
  }
  ExpectBlock();
  return sink_->OnBlockEnd();
}

// The coverage ends with the bytes that held a seal.
void BlockWalker::Advance(Bytes taken) {
  taken_ += taken.size();
  offset_ += taken.size();
  if (std::exchange(seal_checked_, false)) {
    covered_crc_ = 0;
    covered_size_ = 0;
    return;
  }
  covered_crc_ = Crc32c(covered_crc_, taken);
  covered_size_ += taken.size();
}

void BlockWalker::ExpectBlock() {
  state_ = State::kBlockHeader;
  need_ = sizeof(BlockHeader);
}

void BlockWalker::ExpectStreamData() {
  need_ = use_ == StreamUse::kRecords ? sink_->next_records().record_size : 1;
}

void BlockWalker::ExpectStreamHeader() {
  state_ = State::kStreamHeader;
  need_ = StreamFill() + sizeof(StreamHeader);
}

}  // namespace capstan::media
