#include "server/engine/page_recheck.h"

#include <utility>

#include <fmt/format.h>

#include "server/engine/placement/restore_targets.h"
#include "server/messages/messages.h"

namespace capstan::engine {

Status PageRecheck::Begin(const std::map<std::string, writers::DatabaseWriter*>& writers,
                          const media::BackupSet& set) {
  if (set.is_snapshot || set.kind == media::SetKind::kLog) {
    return OkStatus();  // no page of it is on a medium
  }
  const auto writer = writers.find(set.writer);
  if (writer == writers.end()) {
    return SqlError(65024, set.database_name, fmt::format("no writer knows '{}'", set.writer))
        .WithHint("leave CHECKSUM out: what was backed up is compared with its checksums anyway");
  }
  database_name_ = set.database_name;
  std::vector<writers::DatabaseFile> files;
  for (const media::BackupFile& file : set.files) {
    files.push_back(FileOf(file));
  }
  auto check = writer->second->BeginPageCheck(
      files, [this](const writers::PageError& error) { return OnPageError(error); });
  if (!check.ok()) {
    return SqlError(65024, set.database_name, check.status().message());
  }
  check_ = std::move(check).value();
  return OkStatus();
}

Status PageRecheck::Take(const media::FrameView& frame) {
  if (check_ == nullptr) {
    return OkStatus();
  }
  return check_->Take({.file_index = frame.extent.file_index,
                       .offset = frame.extent.file_offset,
                       .length = frame.extent.length},
                      frame.payload);
}

Status PageRecheck::Finish(const std::vector<LostRange>& lost) {
  if (check_ == nullptr) {
    return OkStatus();
  }
  for (const LostRange& range : lost) {
    check_->Miss(range.file_index, range.offset, range.length);
  }
  return check_->Finish();
}

Status PageRecheck::OnPageError(const writers::PageError& error) {
  Status failure = SqlError(3183, error.file_id, error.page, database_name_)
                       .WithHint(fmt::format("in file '{}': {}", error.file, error.cause));
  if (!continue_after_error_) {
    return failure;
  }
  damage_.NoteFailure(failure);
  return OkStatus();
}

}  // namespace capstan::engine
