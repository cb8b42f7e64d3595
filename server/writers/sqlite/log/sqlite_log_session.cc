#include "server/writers/sqlite/log/sqlite_log_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <sys/stat.h>

#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/log_block.h"

namespace capstan::writers {
namespace {

std::string BlockText(LogBlockKind kind, Lsn lsn, std::uint32_t page_size, std::int64_t unix_us) {
  LogBlock block{.kind = kind, .time_unix_us = unix_us};
  block.end.generation = static_cast<std::uint32_t>(lsn.value >> 32);
  block.end.frame = static_cast<std::uint32_t>(lsn.value);
  block.end.page_size = page_size;
  const LogBlockBytes bytes = EncodeLogBlock(block);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

SqliteLogSession::SqliteLogSession(Parts parts)
    : parts_(std::move(parts)), fork_(parts_.tracker->fork()) {
  const SqliteLogTracker::Stretch& log = parts_.log;
  head_ = BlockText(LogBlockKind::kBegin, log.first, log.page_size, 0);
  foot_ = BlockText(LogBlockKind::kEnd, log.last, log.page_size, log.time_unix_us);
  size_ = head_.size() + foot_.size();
  for (const LogPiece& piece : log.pieces) {
    size_ += piece.length;
  }
  parts_.description.files = {DatabaseFile{.file_id = 2,
                                           .logical_name = parts_.logical_name + "_log",
                                           .physical_name = parts_.path + "-wal",
                                           .type = 'L',
                                           .size_bytes = size_,
                                           .page_size = log.page_size,
                                           .volume = 0,
                                           .whole = false}};
}

SqliteLogSession::~SqliteLogSession() {
  if (tail_noted_) {
    parts_.keeper->ForgetTail(parts_.path, *parts_.tracker);
  }
}

Result<std::optional<Extent>> SqliteLogSession::NextExtent(std::uint32_t volume,
                                                           std::uint32_t length_max) {
  if (volume != 0 || length_max == 0) {
    return Error(Code::kInvalidArgument, "no extent of volume {} with at most {} bytes", volume,
                 length_max);
  }
  if (next_ == size_) {
    return std::optional<Extent>();
  }
  const auto length =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(length_max, size_ - next_));
  const Extent extent{.file_index = 0, .offset = next_, .length = length};
  next_ += length;
  return std::optional<Extent>(extent);
}

Status SqliteLogSession::ReadExtent(const Extent& extent, std::span<std::byte> target) {
  if (extent.file_index != 0 || extent.length != target.size() || extent.offset > size_ ||
      extent.length > size_ - extent.offset) {
    return Error(Code::kInvalidArgument, "extent of {} bytes at byte {} does not fit",
                 extent.length, extent.offset);
  }
  std::uint64_t at = 0;  // of the part
  std::uint64_t offset = extent.offset;
  const auto take = [&](std::uint64_t length, const auto& read) -> Status {
    if (!target.empty() && offset < at + length) {
      const std::size_t count = std::min<std::uint64_t>(target.size(), at + length - offset);
      CAPSTAN_RETURN_IF_ERROR(read(offset - at, target.first(count)));
      target = target.subspan(count);
      offset += count;
    }
    at += length;
    return OkStatus();
  };
  const auto from = [](const std::string& text) {
    return [&text](std::uint64_t begin, std::span<std::byte> part) {
      std::memcpy(part.data(), text.data() + begin, part.size());
      return OkStatus();
    };
  };
  Status status = take(head_.size(), from(head_));
  for (const LogPiece& piece : parts_.log.pieces) {
    if (status.ok()) {
      status = take(piece.length, [&](std::uint64_t begin, std::span<std::byte> part) {
        return ReadFully(piece.file->get(), piece.offset + begin, part);
      });
    }
  }
  if (status.ok()) {
    status = take(foot_.size(), from(foot_));
  }
  if (!status.ok()) {
    status = Annotate(std::move(status), "the kept log");
    parts_.activity->Fail(status);
  }
  return status;
}

Status SqliteLogSession::End() {
  if (parts_.tail && !tail_noted_) {
    // Before the backup is committed. After a crash it depends on whether it was.
    struct stat info {};
    const unsigned mode =
        ::stat(parts_.path.c_str(), &info) == 0 ? info.st_mode & 07777U : S_IRUSR | S_IWUSR;
    parts_.keeper->NoteTail(parts_.path, *parts_.tracker, {.lsn = parts_.log.last, .mode = mode});
    tail_noted_ = true;
  }
  parts_.activity->Finish(OkStatus());
  return OkStatus();
}

void SqliteLogSession::Committed() {
  if (parts_.tail) {
    parts_.keeper->CloseForWriters(parts_.path, *std::move(parts_.tail));
    parts_.tail.reset();
    tail_noted_ = false;  // it is the keeper's from now on
  }
  if (!parts_.copy_only) {
    parts_.tracker->Want(parts_.log.last);
  }
}

}  // namespace capstan::writers
