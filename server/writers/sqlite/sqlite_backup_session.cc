#include "server/writers/sqlite/sqlite_backup_session.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace capstan::writers {

SqliteBackupSession::SqliteBackupSession(Parts parts)
    : description_(std::move(parts.description)),
      lsns_(parts.lsns),
      chain_(std::move(parts.chain)),
      activity_(std::move(parts.activity)),
      view_(std::move(parts.view)),
      free_pages_(std::move(parts.free_pages)) {
  page_cache_.emplace(view_->fd(), view_->size_bytes(), parts.drop_page_cache_behind);
}

SqliteBackupSession::~SqliteBackupSession() {
  if (chain_.pages != nullptr) {
    BasePages::Remove(chain_.folder, chain_.base);  // not committed
  }
}

Status SqliteBackupSession::VerifyPages(std::function<Status(const PageError&)> on_page_error) {
  const DatabaseFile& file = description_.files.front();
  const auto tell = [on_page_error = std::move(on_page_error), file_id = file.file_id,
                     name = file.physical_name](std::uint32_t page, const std::string& cause) {
    return on_page_error({.file_id = file_id, .page = page, .file = name, .cause = cause});
  };
  auto roots = view_->ReadRoots();
  if (!roots.ok()) {
    return tell(1, fmt::format("the schema cannot be read: {}", roots.status().message()));
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      page_check_,
      SqlitePageCheck::Begin(
          {.page_size = view_->header().page_size,
           .page_count =
               static_cast<std::uint32_t>(view_->size_bytes() / view_->header().page_size),
           .roots = std::move(roots).value(),
           .read = [this](std::uint64_t offset,
                          std::span<std::byte> target) { return view_->Read(offset, target); },
           .on_bad_page = tell}));
  return OkStatus();
}

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
  if (status.ok() && page_check_ != nullptr) {
    status = page_check_->Take(extent.offset, target);
  }
  if (!status.ok()) {
    activity_->Fail(status);
    return status;
  }
  page_cache_->Done(extent.offset, extent.length);
  // Behind the check, which is of the database; in front of the hashes, which are of the backup.
  free_pages_.Clear(extent.offset, target);
  if (chain_.pages != nullptr) {
    status = chain_.pages->Note(extent.offset, target);
    if (!status.ok()) {
      activity_->Fail(status);
    }
  }
  return status;
}

Status SqliteBackupSession::End() {
  if (!view_) {
    return OkStatus();
  }
  Status status = view_->Verify();
  if (status.ok() && page_check_ != nullptr && next_offset_ == view_->size_bytes()) {
    status = page_check_->Finish();
  }
  if (status.ok() && chain_.pages != nullptr) {
    status = chain_.pages->Finish();
  }
  page_check_.reset();
  page_cache_.reset();
  view_.reset();
  activity_->Finish(status);
  return status;
}

void SqliteBackupSession::Committed() {
  if (chain_.pages != nullptr) {
    BasePages::RemoveOthers(chain_.folder, chain_.base);
    chain_.pages.reset();
  }
  if (chain_.log) {
    chain_.log->NoteBackup(lsns_.last);
  }
}

}  // namespace capstan::writers
