// SqliteWriter: how its backups begin.
#include <chrono>
#include <utility>

#include "server/messages/messages.h"
#include "server/writers/sqlite/log/log_replay.h"
#include "server/writers/sqlite/log/sqlite_differential_session.h"
#include "server/writers/sqlite/log/sqlite_log_session.h"
#include "server/writers/sqlite/sqlite_backup_session.h"
#include "server/writers/sqlite/sqlite_description.h"
#include "server/writers/sqlite/sqlite_free_pages.h"
#include "server/writers/sqlite/sqlite_view.h"
#include "server/writers/sqlite/sqlite_writer.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

// For the tracker to get at the database; a backup goes on without it.
constexpr std::chrono::seconds kTrackWait{5};

std::int64_t UnixMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// What they hold need not be in a backup.
Result<SqliteFreePages> FreePagesOf(const SqliteView& view) {
  const std::uint32_t page_size = view.header().page_size;
  CAPSTAN_ASSIGN_OR_RETURN(
      SqliteFreePages found,
      SqliteFreePages::Find(page_size, static_cast<std::uint32_t>(view.size_bytes() / page_size),
                            [&view](std::uint64_t offset, std::span<std::byte> target) {
                              return view.Read(offset, target);
                            }));
  if (!found.sound()) {
    CAPSTAN_LOG(kWarning, "free pages are copied as they are, their list is not sound path={}",
                view.path());
  }
  return found;
}

Status SimpleHasNoLog() {
  return SqlError(4208, "BACKUP LOG")
      .WithHint("a database has a log to back up in WAL mode only (PRAGMA journal_mode=WAL)");
}

}  // namespace

Result<std::unique_ptr<BackupSession>> SqliteWriter::OpenBackup(const std::string& location,
                                                                const std::string& logical_name,
                                                                const BackupOptions& options) {
  switch (options.kind) {
    case BackupKind::kDifferential:
      return OpenDifferential(location, logical_name, options);
    case BackupKind::kLog:
      return OpenLog(location, logical_name, options);
    case BackupKind::kFull:
      break;
  }
  return OpenFull(location, logical_name, options);
}

SqliteLogKeeper::Claim SqliteWriter::BeginLog(const std::string& path,
                                              const BackupOptions& options) {
  if (options.copy_only || !keeper_->enabled()) {
    return {};
  }
  auto claim = keeper_->Track(path);
  if (!claim.ok()) {
    CAPSTAN_LOG(kError, "no log is kept path={} {}", path, claim.status().message());
    return {};
  }
  if (*claim) {
    const Deadline deadline = Deadline::After(kTrackWait);
    Status status = (*claim)->CatchUp(
        deadline.when() < options.lock_deadline.when() ? deadline : options.lock_deadline);
    // Not in WAL mode: there is no log. For anything else the view, which comes next, has the word;
    // a log that is not kept is missed by the first log backup, which says so.
    if (status.code() == Code::kFailedPrecondition) {
      return {};
    }
    if (!status.ok()) {
      CAPSTAN_LOG(kWarning, "log path={} {}", path, status.message());
    }
  }
  return *std::move(claim);
}

Guid SqliteWriter::ForkOfView(const SqliteView& view) {
  const auto tracker = keeper_->Find(view.path());
  const Guid fork = tracker != nullptr ? tracker->fork() : Guid{};
  return fork.is_zero() ? ForkOf(view.path(), view.inode()) : fork;
}

Result<std::unique_ptr<BackupSession>> SqliteWriter::OpenFull(const std::string& location,
                                                              const std::string& logical_name,
                                                              const BackupOptions& options) {
  auto activity = std::make_unique<WriterActivity>(tracker_, WriterActivity::Kind::kBackup);
  const std::string path = ResolveDatabasePath(location);
  // In front of the view, so that no commit after it is missing.
  ChainBegin chain{.log = BeginLog(path, options)};
  CAPSTAN_ASSIGN_OR_RETURN(SqliteView view,
                           SqliteView::Open(location, {.lock_deadline = options.lock_deadline}));
  CAPSTAN_ASSIGN_OR_RETURN(SqliteFreePages free_pages, FreePagesOf(view));
  chain.writer_data = fmt::format("time={}", UnixMicroseconds());
  CAPSTAN_ASSIGN_OR_RETURN(const SqliteLsns lsns, lsn_clock_->Read(view));
  chain.fork = ForkOfView(view);
  if (keeper_->enabled() && !options.copy_only) {
    chain.base = Guid::Random().ToString();
    chain.folder = keeper_->FolderOf(view.path());
    CAPSTAN_ASSIGN_OR_RETURN(chain.pages,
                             BasePages::Create(chain.folder, chain.base, view.header().page_size));
    chain.writer_data += ";base=" + chain.base;
    if (chain.log) {
      chain.log->FollowChanges(chain.base, lsns.last);
    }
  }
  DatabaseDescription description = DescribeView(view, logical_name);
  auto session = std::make_unique<SqliteBackupSession>(
      SqliteBackupSession::Parts{.view = std::move(view),
                                 .free_pages = std::move(free_pages),
                                 .description = std::move(description),
                                 .lsns = lsns,
                                 .drop_page_cache_behind = options.drop_page_cache_behind,
                                 .activity = std::move(activity),
                                 .chain = std::move(chain)});
  if (options.on_page_error) {
    CAPSTAN_RETURN_IF_ERROR(session->VerifyPages(options.on_page_error));
  }
  return std::unique_ptr<BackupSession>(std::move(session));
}

Result<std::unique_ptr<BackupSession>> SqliteWriter::OpenDifferential(
    const std::string& location, const std::string& logical_name, const BackupOptions& options) {
  if (!options.base) {
    return SqlError(3035, logical_name);
  }
  auto activity = std::make_unique<WriterActivity>(tracker_, WriterActivity::Kind::kBackup);
  const std::string path = ResolveDatabasePath(location);
  SqliteLogKeeper::Claim log = BeginLog(path, options);
  CAPSTAN_ASSIGN_OR_RETURN(SqliteView view,
                           SqliteView::Open(location, {.lock_deadline = options.lock_deadline}));
  const std::string base = KeyOf(options.base->writer_data, "base");
  // From here on the log is followed at least to the view.
  CAPSTAN_ASSIGN_OR_RETURN(const SqliteLsns lsns, lsn_clock_->Read(view));
  std::optional<ChangedPages> changes;
  if (log && !base.empty()) {
    CAPSTAN_RETURN_IF_ERROR(log->CatchUp(options.lock_deadline));
    changes = log->Changes(base);
  }
  std::shared_ptr<BasePages> pages;
  if (!changes && !base.empty() && keeper_->enabled()) {
    auto found = BasePages::Open(keeper_->FolderOf(view.path()), base);
    if (found.ok() && (*found)->page_size() == view.header().page_size) {
      pages = *std::move(found);
    }
  }
  const Guid fork = ForkOfView(view);
  CAPSTAN_ASSIGN_OR_RETURN(SqliteFreePages free_pages, FreePagesOf(view));
  DatabaseDescription description = DescribeView(view, logical_name);
  return std::unique_ptr<BackupSession>(
      std::make_unique<SqliteDifferentialSession>(SqliteDifferentialSession::Parts{
          .view = std::move(view),
          .free_pages = std::move(free_pages),
          .description = std::move(description),
          .lsns = lsns,
          .fork = fork,
          .writer_data = fmt::format("time={};base={};base_lsn={}", UnixMicroseconds(), base,
                                     options.base->lsns.checkpoint.value),
          .changes = std::move(changes),
          .pages = std::move(pages),
          .log = std::move(log),
          .activity = std::move(activity)}));
}

// Of a database that may be damaged, nothing is read but its log.
Result<DatabaseDescription> SqliteWriter::DescribeForLog(const std::string& location,
                                                         const std::string& logical_name,
                                                         const BackupOptions& options) {
  auto view = SqliteView::Open(location, {.lock_deadline = options.lock_deadline});
  if (view.ok()) {
    if (!view->wal_header()) {
      return SimpleHasNoLog();
    }
    return DescribeView(*view, logical_name);
  }
  if (options.tail != LogTail::kNoTruncate) {
    return view.status();
  }
  DatabaseDescription description{.writer = "sqlite", .recovery_model = RecoveryModel::kFull};
  description.volumes = {"log"};
  return description;
}

Result<std::unique_ptr<BackupSession>> SqliteWriter::OpenLog(const std::string& location,
                                                             const std::string& logical_name,
                                                             const BackupOptions& options) {
  auto activity = std::make_unique<WriterActivity>(tracker_, WriterActivity::Kind::kBackup);
  const std::string path = ResolveDatabasePath(location);
  if (keeper_->is_simple(path)) {
    return SimpleHasNoLog();
  }
  CAPSTAN_ASSIGN_OR_RETURN(DatabaseDescription description,
                           DescribeForLog(location, logical_name, options));
  const auto tracker = keeper_->Find(path);
  if (tracker == nullptr) {
    return SqlError(4214).WithHint("take a full backup of the database first");
  }
  std::optional<SqliteLogKeeper::Tail> tail;
  if (options.tail == LogTail::kNoRecovery) {
    auto guard = SqliteFileGuard::Acquire(path);
    if (!guard.ok()) {
      return UnreadableDatabase(path, guard.status());
    }
    auto fence = SqliteWriteFence::Raise(path, {.lock_deadline = options.lock_deadline});
    if (!fence.ok()) {
      return UnreadableDatabase(path, fence.status());
    }
    tail.emplace(SqliteLogKeeper::Tail{*std::move(guard), *std::move(fence)});
  }
  CAPSTAN_ASSIGN_OR_RETURN(SqliteLogTracker::Stretch stretch,
                           options.tail == LogTail::kNoTruncate
                               ? tracker->SalvageLog(options.log_from)
                               : tracker->Log(options.log_from));
  return std::unique_ptr<BackupSession>(std::make_unique<SqliteLogSession>(
      SqliteLogSession::Parts{.path = path,
                              .description = std::move(description),
                              .logical_name = logical_name,
                              .log = std::move(stretch),
                              .tracker = tracker,
                              .keeper = keeper_,
                              .copy_only = options.copy_only,
                              .tail = std::move(tail),
                              .activity = std::move(activity)}));
}

}  // namespace capstan::writers
