#include "server/writers/sqlite/log/sqlite_differential_session.h"

#include <algorithm>
#include <utility>

namespace capstan::writers {
namespace {

constexpr std::uint32_t kWindowBytes = 1 << 20;

}  // namespace

SqliteDifferentialSession::SqliteDifferentialSession(Parts parts) : parts_(std::move(parts)) {
  for (DatabaseFile& file : parts_.description.files) {
    file.whole = false;
  }
}

std::uint32_t SqliteDifferentialSession::page_count() const {
  return static_cast<std::uint32_t>(parts_.view.size_bytes() / parts_.view.header().page_size);
}

Result<std::optional<Extent>> SqliteDifferentialSession::NextExtent(std::uint32_t volume,
                                                                    std::uint32_t length_max) {
  const std::uint32_t page_size = parts_.view.header().page_size;
  if (volume != 0 || length_max < page_size || ended_) {
    return Error(Code::kInvalidArgument, "no extent of volume {} with at most {} bytes", volume,
                 length_max);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::uint32_t pages, NextRun(length_max / page_size));
  if (pages == 0) {
    return std::optional<Extent>();
  }
  const Extent extent{
      .file_index = 0, .offset = std::uint64_t{next_ - 1} * page_size, .length = pages * page_size};
  next_ += pages;
  return std::optional<Extent>(extent);
}

Result<std::uint32_t> SqliteDifferentialSession::NextRun(std::uint32_t pages_max) {
  const std::uint32_t count = page_count();
  if (!parts_.changes && parts_.pages != nullptr) {
    return NextRunByHash(pages_max);
  }
  while (next_ <= count && !IsWanted(next_)) {
    const std::uint32_t changed =
        parts_.changes ? parts_.changes->Next(next_ + 1, count) : next_ + 1;
    next_ = changed == 0 ? count + 1 : changed;
  }
  std::uint32_t pages = 0;
  while (pages < pages_max && next_ + pages <= count && IsWanted(next_ + pages)) {
    ++pages;
  }
  return pages;
}

bool SqliteDifferentialSession::IsWanted(std::uint32_t page) const {
  return !parts_.free_pages.Has(page) && (!parts_.changes || parts_.changes->Has(page));
}

Result<std::uint32_t> SqliteDifferentialSession::NextRunByHash(std::uint32_t pages_max) {
  const std::uint32_t page_size = parts_.view.header().page_size;
  const std::uint32_t count = page_count();
  while (found_at_ == found_.size() && scanned_ < count) {
    found_.clear();
    found_at_ = 0;
    const std::uint32_t pages = std::min(kWindowBytes / page_size, count - scanned_);
    window_.resize(std::size_t{pages} * page_size);
    CAPSTAN_RETURN_IF_ERROR(parts_.view.Read(std::uint64_t{scanned_} * page_size, window_));
    // The full backup's hashes are of what it holds.
    parts_.free_pages.Clear(std::uint64_t{scanned_} * page_size, window_);
    CAPSTAN_RETURN_IF_ERROR(parts_.pages->Changed(scanned_ + 1, window_, &found_));
    std::erase_if(found_, [this](std::uint32_t page) { return parts_.free_pages.Has(page); });
    scanned_ += pages;
  }
  if (found_at_ == found_.size()) {
    return 0U;
  }
  next_ = found_[found_at_];
  std::uint32_t pages = 1;
  while (pages < pages_max && found_at_ + pages < found_.size() &&
         found_[found_at_ + pages] == next_ + pages) {
    ++pages;
  }
  found_at_ += pages;
  return pages;
}

Status SqliteDifferentialSession::ReadExtent(const Extent& extent, std::span<std::byte> target) {
  if (ended_ || extent.file_index != 0 || extent.length != target.size() ||
      extent.offset > parts_.view.size_bytes() ||
      extent.length > parts_.view.size_bytes() - extent.offset) {
    return Error(Code::kInvalidArgument, "extent of {} bytes at byte {} does not fit",
                 extent.length, extent.offset);
  }
  Status status = parts_.view.Read(extent.offset, target);
  if (!status.ok()) {
    parts_.activity->Fail(status);
    return status;
  }
  parts_.free_pages.Clear(extent.offset, target);
  return OkStatus();
}

Status SqliteDifferentialSession::End() {
  if (std::exchange(ended_, true)) {
    return OkStatus();
  }
  Status status = parts_.view.Verify();
  parts_.activity->Finish(status);
  // The view would hold the database open for as long as the engine commits.
  { const SqliteView gone = std::move(parts_.view); }
  return status;
}

void SqliteDifferentialSession::Committed() {
  if (parts_.log) {
    parts_.log->NoteBackup(parts_.lsns.last);
  }
}

}  // namespace capstan::writers
