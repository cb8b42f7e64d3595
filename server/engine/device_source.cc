#include "server/engine/device_source.h"

#include <algorithm>
#include <cstring>

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

// A listing reads here and there, a few kilobytes at a time.
constexpr std::uint32_t kReadSizeMax = 64 << 10;

}  // namespace

Result<std::unique_ptr<DeviceSource>> DeviceSource::Create(OpenSet& set, DeviceChannel& channel) {
  TransferBuffer* buffer = set.pool().Take();
  if (buffer == nullptr) {
    return SqlError(3204);
  }
  std::unique_ptr<DeviceSource> source(new DeviceSource(set, channel, buffer));
  CAPSTAN_RETURN_IF_ERROR(source->media_.Begin());
  if (set.random_access()) {
    CAPSTAN_RETURN_IF_ERROR(source->FindSize());
  }
  return source;
}

DeviceSource::~DeviceSource() {
  set_.pool().Return(buffer_);
}

Status DeviceSource::FindSize() {
  vdi::ServerCommand command;
  command.code = vdi::CommandCode::kSetPosition;
  command.size = static_cast<std::uint32_t>(vdi::Whence::kEnd);
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, channel_.Execute(command));
  if (done.completion_code != vdi::CompletionCode::kSuccess || done.out_position < 0) {
    return set_.ErrorOf(Direction::kRead, channel_, done.completion_code, command.code);
  }
  size_bytes_ = static_cast<std::uint64_t>(done.out_position);
  return OkStatus();
}

Status DeviceSource::FillFrom(std::uint64_t offset) {
  vdi::ServerCommand command;
  command.code = vdi::CommandCode::kRead;
  command.buffer = buffer_->data.data();
  command.size = static_cast<std::uint32_t>(buffer_->data.size());
  if (set_.random_access() || set_.hard_filemarks()) {
    command.size = std::min(command.size, kReadSizeMax);
  }
  command.position = static_cast<std::int64_t>(offset);
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, channel_.Execute(command));
  held_offset_ = offset;
  held_size_ = done.bytes_transferred;
  next_offset_ = offset + done.bytes_transferred;
  if (done.completion_code == vdi::CompletionCode::kHandleEof ||
      done.completion_code == vdi::CompletionCode::kNoDataDetected) {
    ended_ = true;
    return media_.ClearError();
  }
  if (done.completion_code == vdi::CompletionCode::kFilemarkDetected && set_.hard_filemarks()) {
    CAPSTAN_RETURN_IF_ERROR(media_.ClearError());
    return NoteFilemark();
  }
  return done.completion_code == vdi::CompletionCode::kSuccess
             ? OkStatus()
             : set_.ErrorOf(Direction::kRead, channel_, done.completion_code);
}

Result<std::size_t> DeviceSource::ReadAt(std::uint64_t offset, std::span<std::byte> target) {
  std::size_t filled = 0;
  while (filled < target.size()) {
    const std::uint64_t wanted = offset + filled;
    if (wanted >= held_offset_ && wanted < held_offset_ + held_size_) {
      const std::size_t from = static_cast<std::size_t>(wanted - held_offset_);
      const std::size_t size = std::min<std::size_t>(target.size() - filled, held_size_ - from);
      std::memcpy(target.data() + filled, buffer_->data.data() + from, size);
      filled += size;
      continue;
    }
    if (set_.random_access()) {
      if (wanted >= size_bytes_) {
        return filled;
      }
      CAPSTAN_RETURN_IF_ERROR(FillFrom(wanted / kBlockSizeDefault * kBlockSizeDefault));
      if (wanted >= held_offset_ + held_size_) {
        return filled;  // the medium shrank under us
      }
    } else {
      if (at_filemark_) {
        HoldFilemark();
        continue;
      }
      if (ended_) {
        return filled;
      }
      CAPSTAN_RETURN_IF_ERROR(FillFrom(next_offset_));
    }
  }
  return filled;
}

Status DeviceSource::NoteFilemark() {
  at_filemark_ = true;
  const auto count = static_cast<std::uint32_t>(filemarks_.size() + 1);
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> block, media_.Position());
  filemarks_.push_back({.offset = next_offset_, .behind = {.filemarks = count, .block = block}});
  return OkStatus();
}

std::optional<media::TapePlace> DeviceSource::PlaceBehindFilemark(std::uint64_t offset) const {
  for (const ShownFilemark& mark : filemarks_) {
    if (mark.offset + filemark_size_ == offset) {
      return mark.behind;
    }
  }
  return std::nullopt;
}

void DeviceSource::HoldFilemark() {
  const std::vector<std::byte> mark = media::SoftFilemark();
  filemark_size_ = mark.size();
  std::memcpy(buffer_->data.data(), mark.data(), mark.size());
  held_offset_ = next_offset_;
  held_size_ = static_cast<std::uint32_t>(mark.size());
  next_offset_ += mark.size();
  at_filemark_ = false;
}

Result<std::optional<std::uint64_t>> DeviceSource::SkipToFilemark(std::uint64_t offset) {
  if (!set_.hard_filemarks()) {
    return std::optional<std::uint64_t>();
  }
  for (const ShownFilemark& mark : filemarks_) {
    if (mark.offset >= offset) {
      return std::optional(mark.offset);  // it was read already
    }
  }
  if (ended_) {
    return std::optional<std::uint64_t>();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const bool found, media_.SkipFilemarks(1));
  ended_ = !found;
  if (!found) {
    return std::optional<std::uint64_t>();
  }
  CAPSTAN_RETURN_IF_ERROR(NoteFilemark());
  return std::optional(next_offset_);
}

}  // namespace capstan::engine
