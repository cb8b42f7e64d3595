#include "server/writers/sqlite/sqlite_backup_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "vdi/base/aligned_bytes.h"

namespace capstan::writers {
namespace {

constexpr std::size_t kCompareBytes = 256 << 10;  // whole pages, and fits the processor's cache

}  // namespace

SqliteBackupSession::SqliteBackupSession(Parts parts)
    : description_(std::move(parts.description)),
      lsns_(parts.lsns),
      chain_(std::move(parts.chain)),
      activity_(std::move(parts.activity)),
      view_(std::move(parts.view)),
      free_pages_(std::move(parts.free_pages)),
      drop_page_cache_behind_(parts.drop_page_cache_behind) {
  page_cache_.emplace(view_->fd(), view_->size_bytes(), drop_page_cache_behind_);
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
  BeginReading();
  const std::uint64_t size = view_->size_bytes();
  const std::optional<ByteRanges::Range> rest = kept_.NextGap({next_offset_, size});
  if (!rest) {
    next_offset_ = size;
    return std::optional<Extent>();
  }
  std::uint64_t end = rest->end;
  if (end - rest->begin > length_max) {
    // Up to a page's end where there is one, so that no page is read from the WAL twice.
    end = rest->begin + length_max;
    const std::uint64_t whole = end - end % description_.page_size;
    end = whole > rest->begin ? whole : end;
  }
  const Extent extent{.file_index = 0,
                      .offset = rest->begin,
                      .length = static_cast<std::uint32_t>(end - rest->begin)};
  next_offset_ = end;
  page_cache_->Advance(end - 1);
  return std::optional<Extent>(extent);
}

void SqliteBackupSession::BeginReading() {
  MutexLock lock(mutex_);
  if (!reading_) {
    reading_ = true;
    kept_ = std::move(keeping_);
    page_cache_->PassOver(kept_);
  }
}

Result<bool> SqliteBackupSession::Keeps(const Extent& extent, std::span<const std::byte> bytes) {
  const std::uint64_t size = view_ ? view_->size_bytes() : 0;
  if (extent.file_index != 0 || extent.length != bytes.size() || bytes.empty() ||
      extent.offset > size || bytes.size() > size - extent.offset) {
    return false;
  }
  const ByteRanges::Range range{extent.offset, extent.offset + bytes.size()};
  {
    MutexLock lock(mutex_);
    if (reading_) {
      return Error(Code::kFailedPrecondition, "something to be kept, but extents are being read");
    }
    if (keeping_.Overlaps(range)) {
      return false;
    }
  }
  PageCacheVisit visit(view_->fd(), range, drop_page_cache_behind_);
  Result<bool> same = Holds(extent.offset, bytes, visit);
  if (!same.ok()) {
    return Fail(std::move(same).status());
  }
  if (!*same) {
    return false;
  }
  {
    MutexLock lock(mutex_);
    if (!keeping_.Add(range)) {
      return false;  // another thread was given some of it as well
    }
  }
  // Only now, so that of what is not kept nothing is checked, and told of, twice.
  Status status = CheckPages(extent.offset, bytes.size());
  if (status.ok()) {
    status = NoteBytes(extent.offset, bytes);
  }
  if (!status.ok()) {
    return Fail(std::move(status));
  }
  return true;
}

Result<bool> SqliteBackupSession::Holds(std::uint64_t offset, std::span<const std::byte> bytes,
                                        PageCacheVisit& visit) const {
  const AlignedBytes scratch(std::min(bytes.size(), kCompareBytes));
  while (!bytes.empty()) {
    const auto found = scratch.span().first(std::min(bytes.size(), kCompareBytes));
    visit.Advance(offset);
    CAPSTAN_RETURN_IF_ERROR(view_->Read(offset, found));
    free_pages_.Clear(offset, found);
    if (std::memcmp(found.data(), bytes.data(), found.size()) != 0) {
      return false;
    }
    offset += found.size();
    bytes = bytes.subspan(found.size());
  }
  return true;
}

// Reads once more what Holds has just read: what is kept has zeros where the database has something
// in its free pages.
Status SqliteBackupSession::CheckPages(std::uint64_t offset, std::uint64_t length) {
  if (page_check_ == nullptr) {
    return OkStatus();
  }
  const AlignedBytes scratch(
      static_cast<std::size_t>(std::min(length, std::uint64_t{kCompareBytes})));
  while (length > 0) {
    const auto found = scratch.span().first(
        static_cast<std::size_t>(std::min(length, std::uint64_t{kCompareBytes})));
    CAPSTAN_RETURN_IF_ERROR(view_->Read(offset, found));
    CAPSTAN_RETURN_IF_ERROR(page_check_->Take(offset, found));
    offset += found.size();
    length -= found.size();
  }
  return OkStatus();
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
    return Fail(std::move(status));
  }
  page_cache_->Done(extent.offset, extent.length);
  // Behind the check, which is of the database; in front of the hashes, which are of the backup.
  free_pages_.Clear(extent.offset, target);
  status = NoteBytes(extent.offset, target);
  return status.ok() ? status : Fail(std::move(status));
}

Status SqliteBackupSession::NoteBytes(std::uint64_t offset, std::span<const std::byte> bytes) {
  return chain_.pages != nullptr ? chain_.pages->Note(offset, bytes) : OkStatus();
}

Status SqliteBackupSession::Fail(Status status) {
  activity_->Fail(status);
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
