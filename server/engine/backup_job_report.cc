// What a BackupJob tells of its outcome: bad pages, pages processed, log that is in no backup.
#include "server/engine/backup_job.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

constexpr std::uint64_t kPageErrorsLogged = 1000;  // of one backup

}  // namespace

Status BackupJob::OnPageError(const writers::PageError& error) {
  Status failure =
      SqlError(3043, database_.name, error.file_id, error.page, error.file).WithHint(error.cause);
  if (!request_.continue_after_error) {
    return failure;
  }
  if (page_errors_.fetch_add(1) < kPageErrorsLogged) {
    parts_.error_log.Write(request_.transfer.session_id,
                           fmt::format("{} ({})", failure.message(), error.cause));
  }
  return OkStatus();
}

void BackupJob::ReportCompletion() {
  if (final_set_.is_damaged) {
    observer_.OnMessage(3042, MessageText(3042));
  }
  ReportGap();
  SayPages(final_set_, database_.name, observer_);
  const auto elapsed = std::chrono::steady_clock::now() - job_.started();
  observer_.OnMessage(3014, CompletionMessage(std::string(BackupCommand(request_.kind)),
                                              PagesOf(final_set_.backup_size_bytes), elapsed));
}

// Where log was lost the backup succeeds, and no restore from it reaches a time before its
// beginning: that is told by the first log backup behind it.
void BackupJob::ReportGap() {
  const bool begins_anew =
      chain_.set.begins_log_chain || final_set_.first_lsn > chain_.options.log_from.value;
  if (request_.kind != writers::BackupKind::kLog || !begins_anew) {
    return;
  }
  const auto sets = parts_.catalog.SetsOf(database_.name);
  if (!sets.ok()) {
    CAPSTAN_LOG(kWarning, "it is not known whether log of '{}' is missing before LSN {}: {}",
                database_.name, final_set_.first_lsn, sets.status().message());
    return;
  }
  if (const auto gap = GapBefore(final_set_, *sets)) {
    const bool is_full = gap->bridge == media::SetKind::kDatabase;
    observer_.OnMessage(65057, MessageText(65057, database_.name, gap->from, gap->to,
                                           is_full ? "full" : "differential"));
  }
}

}  // namespace capstan::engine
