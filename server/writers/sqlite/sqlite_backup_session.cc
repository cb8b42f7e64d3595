#include "server/writers/sqlite/sqlite_backup_session.h"

#include <algorithm>
#include <utility>

namespace capstan::writers {

SqliteBackupSession::SqliteBackupSession(Parts parts)
    : description_(std::move(parts.description)),
      lsns_(parts.lsns),
      activity_(std::move(parts.activity)),
      view_(std::move(parts.view)) {
  page_cache_.emplace(view_->fd(), view_->size_bytes(), parts.drop_page_cache_behind);
}

SqliteBackupSession::~SqliteBackupSession() = default;

Result<std::optional<Extent>> SqliteBackupSession::NextExtent(std::uint32_t volume,
                                                              std::uint32_t length_max) {
  if (volume != 0 || length_max == 0 || !view_) {
    return Error(Code::kInvalidArgument, "no extent of volume {} with at most {} bytes", volume,
                 length_max);
  }
  const std::uint64_t size = view_->size_bytes();
  if (next_offset_ == size) {
    return std::optional<Extent>();
  }
  // Whole pages where they fit, so that no page is read from the WAL twice.
  const std::uint32_t page_size = description_.page_size;
  const std::uint32_t whole =
      length_max >= page_size ? length_max - length_max % page_size : length_max;
  const auto length =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(whole, size - next_offset_));
  const Extent extent{.file_index = 0, .offset = next_offset_, .length = length};
  next_offset_ += length;
  page_cache_->Advance(next_offset_ - 1);
  return std::optional<Extent>(extent);
}

Status SqliteBackupSession::ReadExtent(const Extent& extent, std::span<std::byte> target) {
  if (!view_ || extent.file_index != 0 || extent.length != target.size() ||
      extent.offset > view_->size_bytes() || extent.length > view_->size_bytes() - extent.offset) {
    return Error(Code::kInvalidArgument, "extent of {} bytes at byte {} does not fit",
                 extent.length, extent.offset);
  }
  Status status = view_->Read(extent.offset, target);
  if (!status.ok()) {
    activity_->Fail(status);
    return status;
  }
  page_cache_->Done(extent.offset, extent.length);
  return status;
}

Status SqliteBackupSession::End() {
  if (!view_) {
    return OkStatus();
  }
  Status status = view_->Verify();
  page_cache_.reset();
  view_.reset();
  activity_->Finish(status);
  return status;
}

}  // namespace capstan::writers
