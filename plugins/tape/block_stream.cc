#include "plugins/tape/block_stream.h"

#include <algorithm>
#include <cerrno>

namespace capstan::tape {
namespace {

Done Refused(int os_error, std::uint32_t code, std::string message) {
  return {.code = code, .failure = {.os_error = os_error, .message = std::move(message)}};
}

// What a drive may keep with each block, besides its bytes.
constexpr std::uint64_t kBlockOverhead = 16;

}  // namespace

BlockStream::BlockStream(TapeDrive& drive, std::uint32_t block_size)
    : drive_(drive),
      positioner_(drive),
      block_size_(drive.limits().block_size_max == 0
                      ? block_size
                      : std::min(block_size, drive.limits().block_size_max)),
      longest_block_(block_size_) {}

void BlockStream::Mounted() {
  positioner_.AtBeginning();
  held_begin_ = held_end_ = 0;
  longest_block_ = block_size_;
  measured_ = false;
  broken_ = false;
}

// --- reading

std::size_t BlockStream::TakeHeld(std::span<std::byte> target) {
  const std::size_t size = std::min(held(), target.size());
  std::copy_n(held_.begin() + static_cast<std::ptrdiff_t>(held_begin_), size, target.begin());
  held_begin_ += size;
  return size;
}

// The next block, to be kept.
Answer BlockStream::ReadHeld() {
  held_.resize(std::max(held_.size(), longest_block_));
  Answer answer = drive_.Read(held_);
  if (answer.done()) {
    held_begin_ = 0;
    held_end_ = static_cast<std::size_t>(answer.bytes);
  }
  return answer;
}

// The next block, or as much of it as is asked for.
Answer BlockStream::ReadInto(std::span<std::byte> target, std::size_t* filled) {
  const bool fits = target.size() >= longest_block_;
  Answer answer = fits ? drive_.Read(target) : ReadHeld();
  if (answer.outcome == Outcome::kBlockTooLong && answer.bytes > longest_block_) {
    // It is passed already.
    longest_block_ = static_cast<std::size_t>(answer.bytes);
    answer = drive_.SpaceBlocks(-1);
    return answer.done() ? ReadInto(target, filled) : answer;
  }
  if (answer.done()) {
    positioner_.PassBlock();
    *filled += fits ? static_cast<std::size_t>(answer.bytes) : TakeHeld(target);
  }
  return answer;
}

Done BlockStream::Read(std::span<std::byte> target) {
  std::size_t filled = TakeHeld(target);
  Answer answer;
  while (answer.done() && filled < target.size()) {
    answer = ReadInto(target.subspan(filled), &filled);
  }
  if (answer.outcome == Outcome::kFilemark) {
    positioner_.PassMark();
  } else if (!answer.done() && answer.outcome != Outcome::kEndOfData) {
    positioner_.Lose();
  }
  Done done = DoneWith(answer, CAPSTAN_OP_READ, "read the tape");
  if (answer.done()) {
    done.code = CAPSTAN_E_OK;  // a warning is about writing
  }
  done.bytes = static_cast<std::uint32_t>(filled);
  return done;
}

// --- writing

// What a write of `size` bytes takes of the cartridge at most.
std::uint64_t BlockStream::Taken(std::size_t size) const {
  return size + (size + block_size_ - 1) / block_size_ * kBlockOverhead;
}

std::optional<Done> BlockStream::WhyNotWritable(std::size_t size) const {
  if (broken_) {
    return Refused(EIO, CAPSTAN_E_IO, "not written, because a write before it has failed");
  }
  if (held() != 0) {
    return Refused(EINVAL, CAPSTAN_E_WRITE_FAULT,
                   "unable to write in the middle of a block: go to where one begins");
  }
  if (measured_ && room_ && *room_ + drive_.limits().early_warning_bytes < Taken(size)) {
    return Refused(ENOSPC, CAPSTAN_E_NO_ROOM, "unable to write: the cartridge is full");
  }
  return std::nullopt;
}

Done BlockStream::Write(std::span<const std::byte> bytes) {
  if (std::optional<Done> refused = WhyNotWritable(bytes.size())) {
    broken_ = true;
    return *std::move(refused);
  }
  positioner_.Cut();
  bool warned = false;
  std::size_t blocks = 0;
  for (std::size_t at = 0; at < bytes.size(); ++blocks) {
    const std::size_t size = std::min<std::size_t>(bytes.size() - at, block_size_);
    const Answer answer = drive_.Write(bytes.subspan(at, size));
    if (!answer.done()) {
      return WriteFailed(answer, blocks, at);
    }
    positioner_.PassBlock();
    warned = warned || answer.outcome == Outcome::kEarlyWarning;
    at += size;
  }
  if (!measured_) {
    MeasureRoom();
  } else if (room_) {
    *room_ -= std::min(*room_, Taken(bytes.size()));
  }
  return {.code = IsNearlyFull(warned) ? CAPSTAN_E_END_OF_MEDIUM : CAPSTAN_E_OK,
          .bytes = static_cast<std::uint32_t>(bytes.size())};
}

// After `blocks` of a write, which hold `bytes`, the next one failed.
Done BlockStream::WriteFailed(const Answer& answer, std::size_t blocks, std::size_t bytes) {
  broken_ = true;
  Done done = DoneWith(answer, CAPSTAN_OP_WRITE, "write the tape");
  done.bytes = static_cast<std::uint32_t>(bytes);
  if (answer.outcome != Outcome::kNoRoom) {
    positioner_.Lose();
    return done;
  }
  if (blocks > 0) {
    const Answer back = positioner_.SkipBlocks(-static_cast<std::int64_t>(blocks));
    if (!back.done()) {
      positioner_.Lose();
      return DoneWith(back, CAPSTAN_OP_WRITE, "take back a write that did not fit on the tape");
    }
    positioner_.Cut();
  }
  done.bytes = 0;
  return done;
}

// What is left is known behind the end of data, so only once something was written here.
void BlockStream::MeasureRoom() {
  measured_ = true;
  MountedCartridge cartridge;
  const bool told = drive_.Inspect(&cartridge).done() && cartridge.remaining_bytes != UINT64_MAX &&
                    cartridge.remaining_bytes != 0;
  room_ = told ? std::optional(cartridge.remaining_bytes) : std::nullopt;
  reserve_max_ = cartridge.capacity_bytes / 4;
}

bool BlockStream::IsNearlyFull(bool drive_warns) const {
  // What fits behind the drive's own warning need not be kept free in front of it.
  const std::uint64_t behind = drive_.limits().early_warning_bytes;
  const std::uint64_t reserve = reserve_ - std::min(reserve_, behind);
  return drive_warns || (room_ && *room_ < std::min(reserve, reserve_max_));
}

Done BlockStream::WriteMark() {
  if (std::optional<Done> refused = WhyNotWritable(0)) {
    return *std::move(refused);
  }
  positioner_.Cut();
  const Answer answer = drive_.WriteFilemarks(1);
  Done done = DoneWith(answer, CAPSTAN_OP_WRITE_MARK, "write a filemark");
  if (!answer.done()) {
    broken_ = true;
    if (answer.outcome != Outcome::kNoRoom) {
      positioner_.Lose();
    }
    return done;
  }
  positioner_.PassMark();
  if (IsNearlyFull(answer.outcome == Outcome::kEarlyWarning)) {
    done.code = CAPSTAN_E_END_OF_MEDIUM;
  }
  return done;
}

Done BlockStream::Flush() {
  Done done =
      DoneWith(drive_.WriteFilemarks(0), CAPSTAN_OP_FLUSH, "put on the tape what was written");
  if (done.code == CAPSTAN_E_END_OF_MEDIUM) {
    done.code = CAPSTAN_E_OK;  // told by the write
  }
  broken_ = broken_ || done.failure.failed();
  return done;
}

// --- positions

// The drive has gone somewhere else, or tried to.
Done BlockStream::Moved(const Answer& answer, std::int32_t op) {
  held_begin_ = held_end_ = 0;
  measured_ = false;
  return DoneWith(answer, op, "move the tape");
}

Done BlockStream::Rewind() {
  return Moved(positioner_.Rewind(), CAPSTAN_OP_REWIND);
}

Done BlockStream::SkipMarks(std::int64_t count) {
  return Moved(positioner_.SkipMarks(count), CAPSTAN_OP_SKIP_MARKS);
}

Done BlockStream::SkipBlocks(std::int64_t count) {
  return Moved(positioner_.SkipBlocks(count), CAPSTAN_OP_SKIP_BLOCKS);
}

Done BlockStream::GetPosition() {
  std::uint64_t object = 0;
  Done done = DoneWith(positioner_.Get(&object), CAPSTAN_OP_GET_POSITION, "tell the position");
  // A block of which something was read is still the one to be read.
  done.position = static_cast<std::int64_t>(object - (held() != 0 ? 1 : 0));
  return done;
}

Done BlockStream::SetPosition(std::uint32_t whence, std::int64_t position) {
  enum Whence : std::uint32_t { kBegin = 0, kCurrent = 1, kEnd = 2 };
  if (whence > kEnd) {
    return Refused(EINVAL, CAPSTAN_E_UNSUPPORTED,
                   "unknown origin " + std::to_string(whence) + " of a position");
  }
  Done base;
  if (whence == kEnd) {
    base = Moved(positioner_.GoToEnd(), CAPSTAN_OP_SET_POSITION);
  }
  if (whence != kBegin && base.code == CAPSTAN_E_OK) {
    base = GetPosition();
  }
  if (base.code != CAPSTAN_E_OK) {
    return base;
  }
  std::int64_t target = 0;
  if (__builtin_add_overflow(base.position, position, &target) || target < 0) {
    return Refused(EINVAL, CAPSTAN_E_UNSUPPORTED, "a position lies in front of the beginning");
  }
  Done done = Moved(positioner_.GoTo(static_cast<std::uint64_t>(target)), CAPSTAN_OP_SET_POSITION);
  done.position = target;
  return done;
}

}  // namespace capstan::tape
