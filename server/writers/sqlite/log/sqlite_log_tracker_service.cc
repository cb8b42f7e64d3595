// SqliteLogTracker: what others ask of it, and its thread. The copying is in sqlite_log_tracker.cc.
#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "server/messages/messages.h"
#include "server/writers/durable_file.h"
#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/sqlite_log_tracker.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kChangesPrefix = "changed-";
constexpr std::size_t kBasesFollowed = 2;
constexpr milliseconds kAttachWait{500};

// SQL Server's 4214 says only that there is no current backup; the reason is ours.
Status NoLog(const std::string& path, const std::string& reason) {
  return SqlError(4214).WithHint(
      fmt::format("the log of '{}' is not all there: {}. Take a full or differential backup of the "
                  "database; log backups go on from there",
                  path, reason));
}

}  // namespace

void SqliteLogTracker::Want(Lsn from) {
  FairMutexLock lock(mutex_);
  if (removed_ || wanted_ == from) {
    return;
  }
  wanted_ = from;
  if (!let_go_ && !spool_->empty() && from >= spool_->first()) {
    broken_.clear();
  }
  SaveChanges();  // what is trimmed can no more be asked for pages
  Status status = Save();
  if (status.ok() && !spool_->empty()) {
    status = spool_->Trim(from);
  }
  if (!status.ok()) {
    CAPSTAN_LOG(kError, "log path={} {}", options_.path, status.message());
  }
}

void SqliteLogTracker::NoteBackup(Lsn lsn) {
  bool first = false;
  {
    FairMutexLock lock(mutex_);
    first = !wanted_;
    const bool gap = wanted_ && !spool_->empty() && *wanted_ < spool_->first();
    if (gap && !bridged() && lsn >= spool_->first()) {
      bridge_ = lsn;
      if (Status status = Save(); !status.ok()) {
        CAPSTAN_LOG(kError, "log path={} {}", options_.path, status.message());
      }
    }
  }
  if (first) {
    Want(lsn);
  }
}

std::optional<Lsn> SqliteLogTracker::wanted() const {
  FairMutexLock lock(mutex_);
  return wanted_;
}

LogStatus SqliteLogTracker::status() const {
  FairMutexLock lock(mutex_);
  LogStatus status{.limit_bytes = options_.limit_bytes};
  if (!spool_->empty()) {
    status.bytes = spool_->bytes();
    // Log that begins behind a bridge goes on from where it is wanted: who believed that it did not
    // would give up what was kept since then.
    const Lsn first = !wanted_    ? spool_->first()
                      : bridged() ? *wanted_
                                  : std::max(*wanted_, spool_->first());
    const Lsn last = std::max(first, spool_->last_commit());
    status.kept = LsnRange{.first = first, .last = last, .checkpoint = first};
  }
  const bool gap = spool_->empty() ? let_go_ : wanted_ && *wanted_ < spool_->first() && !bridged();
  if (gap) {
    status.broken = broken_.empty() ? "no log was kept at that time" : broken_;
  } else {
    status.broken = lost_;
  }
  return status;
}

Guid SqliteLogTracker::fork() const {
  FairMutexLock lock(mutex_);
  return fork_;
}

std::optional<std::uint32_t> SqliteLogTracker::KnownGeneration(const WalSalt& salt) const {
  // Without frames it has no salt, and without a lock it may be another one every time.
  if (position_.salt == salt && (attachment_ != nullptr || salt != WalSalt{})) {
    return position_.generation;
  }
  // From behind: after a gap the same WAL has a new number.
  for (auto known = generations_.rbegin(); known != generations_.rend(); ++known) {
    if (known->first == salt) {
      return known->second;
    }
  }
  if (promised_ && promised_->first == salt) {
    return promised_->second;
  }
  return std::nullopt;
}

Result<std::uint32_t> SqliteLogTracker::GenerationOf(const WalSalt& salt) {
  FairMutexLock lock(mutex_);
  (void)Attach(Deadline::After(kAttachWait));
  auto generation = KnownGeneration(salt);
  if (!generation && attachment_ != nullptr && Copy().ok()) {
    generation = KnownGeneration(salt);
  }
  if (!generation && attachment_ != nullptr) {
    // A number from behind the log would hide commits that the log has yet to see.
    CAPSTAN_RETURN_IF_ERROR(
        Break("a backup did not find its place in the log", /*new_fork=*/false));
    generation = KnownGeneration(salt);
  }
  if (!generation) {
    generation = NextGeneration();
    if (salt != WalSalt{}) {
      promised_.emplace(salt, *generation);
    }
  }
  // A number that is told to others must not be given again after a crash.
  if (!removed_ && (spool_->empty() || *generation > spool_->last().end.generation)) {
    CAPSTAN_RETURN_IF_ERROR(Save());
  }
  return *generation;
}

std::uint32_t SqliteLogTracker::last_generation() const {
  FairMutexLock lock(mutex_);
  return last_generation_;
}

Result<SqliteLogTracker::Stretch> SqliteLogTracker::Log(Lsn from) {
  FairMutexLock lock(mutex_);
  if (let_go_) {
    return NoLog(options_.path, broken_);
  }
  Status status = Attach(Deadline::After(kAttachWait));
  if (status.ok()) {
    status = Copy();
  }
  if (let_go_) {  // only now
    return NoLog(options_.path, broken_);
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(status));
  CAPSTAN_RETURN_IF_ERROR(spool_->Sync());
  return StretchFrom(from);
}

Result<SqliteLogTracker::Stretch> SqliteLogTracker::SalvageLog(Lsn from) {
  FairMutexLock lock(mutex_);
  if (let_go_ || spool_->empty()) {
    return NoLog(options_.path, broken_.empty() ? "none was kept" : broken_);
  }
  // As long as we have the WAL open it does not matter what became of the database file.
  const bool live = Attach(Deadline::After(kAttachWait)).ok() && Copy().ok();
  if (let_go_) {  // only now
    return NoLog(options_.path, broken_);
  }
  if (!live) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string lost, FollowToLastCommit());
    CAPSTAN_RETURN_IF_ERROR(spool_->Sync());
    if (lost != lost_) {
      lost_ = lost;
      CAPSTAN_RETURN_IF_ERROR(Save());
      if (!lost.empty()) {
        return CommitsLost();
      }
    }
  }
  CAPSTAN_RETURN_IF_ERROR(spool_->Sync());
  return StretchFrom(from);
}

Status SqliteLogTracker::CommitsLost() const {
  CAPSTAN_LOG(kError, "log path={} lsn={} commits may be missing behind it, cause={}",
              options_.path, LsnText(spool_->last_commit()), lost_);
  return SqlError(65056, options_.path, LsnText(spool_->last_commit()),
                  TimeText(spool_->last_time_unix_us()), lost_)
      .WithHint(
          "run the same statement again to back up the log that is there, as the last one "
          "before a restore");
}

// All of the log was in the file, and nothing was written to the file since.
bool SqliteLogTracker::IsStillAtRest() const {
  const LogBlock& last = spool_->last();
  struct stat info {};
  return last.kind == LogBlockKind::kAtRest && ::stat(options_.path.c_str(), &info) == 0 &&
         info.st_ino == inode_ && static_cast<std::uint64_t>(info.st_size) == last.file_size &&
         std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec ==
             last.file_mtime_ns;
}

// Copies what of the WAL's file still follows what was copied, up to its last commit. Returns why
// there may have been others; empty: there were not.
Result<std::string> SqliteLogTracker::FollowToLastCommit() {
  auto file = WalFile::Open(options_.path + "-wal");
  const auto begin = file.ok() ? file->Begin() : file.status();
  if (!begin.ok()) {
    return IsStillAtRest() ? std::string()
                           : fmt::format("its WAL is gone: {}", begin.status().message());
  }
  if (begin->salt != position_.salt) {
    if (!IsStillAtRest()) {
      return std::string("its WAL was started anew while nobody watched it");
    }
    NewGeneration(begin->salt);
  }
  if (position_.frame == 0) {
    const std::uint32_t generation = position_.generation;
    position_ = *begin;
    position_.generation = generation;
  } else if (const auto sum = file->StoredChecksum(position_.frame, position_.page_size);
             !sum.ok() || *sum != position_.checksum) {
    return std::string("its WAL lost commits that had been seen, as in a power failure");
  }
  WalPosition end = position_;
  std::uint32_t last_commit = position_.frame;
  while (file->Read(1, &end, &last_commit).ok()) {
  }
  CAPSTAN_RETURN_IF_ERROR(CopyUpTo(&*file, last_commit));
  return std::string();
}

Result<SqliteLogTracker::Stretch> SqliteLogTracker::StretchFrom(Lsn from) {
  if (bridged() && from < spool_->first()) {
    from = *bridge_;
  }
  if (spool_->empty() || from < spool_->first()) {
    return NoLog(options_.path, broken_.empty()
                                    ? fmt::format("no log from {} on was kept", LsnText(from))
                                    : broken_);
  }
  const Lsn end = spool_->last_commit();
  const bool empty_generation = (from.value & 0xffffffff) == 0;  // the same as the end before it
  if (from > end && !empty_generation) {
    return NoLog(options_.path,
                 fmt::format("it ends at {}, in front of {}", LsnText(end), LsnText(from)));
  }
  Stretch stretch{.first = from, .last = std::max(from, end)};
  stretch.page_size = position_.page_size;
  stretch.time_unix_us = Now();
  if (from < end) {
    CAPSTAN_ASSIGN_OR_RETURN(stretch.pieces, spool_->Pieces(from));
  }
  return stretch;
}

void SqliteLogTracker::FollowChanges(const std::string& base, Lsn from) {
  FairMutexLock lock(mutex_);
  ChangedPages pages(from);
  if (attachment_ == nullptr || from < spool_->first() || !NoteKeptPages(&pages).ok()) {
    return;
  }
  changes_.insert_or_assign(base, std::move(pages));
  while (changes_.size() > kBasesFollowed) {
    const auto oldest = std::ranges::min_element(
        changes_, {}, [](const auto& entry) { return entry.second.from(); });
    (void)RemoveFile(fmt::format("{}/{}{}", options_.folder, kChangesPrefix, oldest->first));
    changes_.erase(oldest);
  }
  SaveChanges();
}

std::optional<ChangedPages> SqliteLogTracker::Changes(const std::string& base) {
  FairMutexLock lock(mutex_);
  const auto found = changes_.find(base);
  if (attachment_ == nullptr || found == changes_.end()) {
    return std::nullopt;
  }
  return found->second;
}

void SqliteLogTracker::NotePages(std::span<const std::byte> frames) {
  const std::size_t stride = position_.page_size + kSqliteFrameHeaderBytes;
  for (auto& [base, pages] : changes_) {
    for (std::size_t at = 0; at + stride <= frames.size(); at += stride) {
      pages.Add(ReadFrameHeader(&frames[at]).page_number);
    }
    pages.set_upto(position_.lsn());
  }
}

void SqliteLogTracker::SaveChanges() {
  for (auto& [base, pages] : changes_) {
    pages.set_upto(position_.lsn());
    const std::string path = fmt::format("{}/{}{}", options_.folder, kChangesPrefix, base);
    if (Status status = pages.Save(path); !status.ok()) {
      CAPSTAN_LOG(kWarning, "changed pages path={} {}", options_.path, status.message());
    }
  }
}

void SqliteLogTracker::LoadChanges() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.folder, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kChangesPrefix) || name.ends_with(".new")) {
      continue;
    }
    auto pages = ChangedPages::Load(entry.path());
    if (pages.ok() && pages->upto() >= spool_->first() && NoteKeptPages(&*pages).ok()) {
      changes_.emplace(name.substr(kChangesPrefix.size()), *std::move(pages));
    } else {
      (void)RemoveFile(entry.path());
    }
  }
}

// The pages of all kept log behind what `pages` knows.
Status SqliteLogTracker::NoteKeptPages(ChangedPages* pages) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<LogPiece> pieces, spool_->Pieces(pages->upto()));
  for (const LogPiece& piece : pieces) {
    for (std::uint64_t at = 0; at < piece.length;) {
      LogBlockBytes bytes;
      CAPSTAN_RETURN_IF_ERROR(ReadFully(piece.file->get(), piece.offset + at, bytes));
      CAPSTAN_ASSIGN_OR_RETURN(const LogBlock block, DecodeLogBlock(bytes));
      at += bytes.size();
      for (std::uint32_t i = 0; i < block.frame_count; ++i) {
        std::array<std::byte, 4> number;
        CAPSTAN_RETURN_IF_ERROR(ReadFully(
            piece.file->get(), piece.offset + at + std::uint64_t{i} * block.frame_bytes(), number));
        pages->Add(std::max(1U, LoadBigEndian32(number.data())));
      }
      at += block.payload_bytes;
    }
  }
  pages->set_upto(position_.lsn());
  return OkStatus();
}

void SqliteLogTracker::DropChanges() {
  for (const auto& [base, pages] : changes_) {
    (void)RemoveFile(fmt::format("{}/{}{}", options_.folder, kChangesPrefix, base));
  }
  changes_.clear();
}

void SqliteLogTracker::Suspend() {
  FairMutexLock lock(mutex_);
  ++suspended_;
  Detach(/*in_peace=*/true);
}

void SqliteLogTracker::Resume() {
  {
    FairMutexLock lock(mutex_);
    --suspended_;
  }
  ::eventfd_write(bell_.get(), 1);
}

void SqliteLogTracker::Forget(const std::string& reason, const Guid& fork) {
  FairMutexLock lock(mutex_);
  attachment_.reset();
  DropChanges();
  broken_ = reason;
  lost_.clear();
  fork_ = fork;
  inode_ = 0;
  tail_.reset();
  Status status = spool_->Remove();
  if (status.ok()) {
    status = Save();
  }
  if (!status.ok()) {
    CAPSTAN_LOG(kError, "log path={} {}", options_.path, status.message());
  }
}

void SqliteLogTracker::SetTail(std::optional<Tail> tail) {
  FairMutexLock lock(mutex_);
  tail_ = tail;
  if (Status status = Save(); !status.ok()) {
    CAPSTAN_LOG(kError, "log path={} {}", options_.path, status.message());
  }
}

std::optional<SqliteLogTracker::Tail> SqliteLogTracker::tail() const {
  FairMutexLock lock(mutex_);
  return tail_;
}

void SqliteLogTracker::Remove() {
  FairMutexLock lock(mutex_);
  removed_ = true;
  Detach(/*in_peace=*/false);
  (void)spool_->Remove();
  std::error_code error;
  std::filesystem::remove_all(options_.folder, error);
}

void SqliteLogTracker::WatchFiles() {
  // Adding what is watched already changes nothing; watches of files that are gone end by
  // themselves.
  ::inotify_add_watch(notifications_.get(), attachment_->wal_path().c_str(), IN_MODIFY);
  // A checkpoint of the application's writes here; when it is done, the WAL may start anew.
  ::inotify_add_watch(notifications_.get(), options_.path.c_str(), IN_MODIFY);
}

// One look. How long to wait for the next one if nothing happens.
int SqliteLogTracker::StepAndWaitMs() {
  FairMutexLock lock(mutex_);
  if (suspended_ > 0 || removed_ || let_go_) {
    return 1000;
  }
  struct stat info {};
  if (attachment_ != nullptr && !attachment_->guard().IsAt(options_.path) &&
      ::stat(options_.path.c_str(), &info) == 0) {
    Detach(/*in_peace=*/false);  // another file is there; one that is gone may still be salvaged
  }
  Status status = Attach(Deadline::After(kAttachWait));
  if (status.ok()) {
    status = Tick();
  }
  if (!status.ok() && status.message() != last_problem_) {
    CAPSTAN_LOG(kWarning, "log path={} {}", options_.path, status.message());
  }
  last_problem_ = status.message();
  if (!status.ok() || attachment_ == nullptr) {
    return 1000;
  }
  const bool busy = MonotonicNanos() - last_copy_ns_ < 100'000'000;
  return attachment_->pin().state() == WalPin::State::kSlot && busy ? 5 : 100;
}

void SqliteLogTracker::Run(const std::stop_token& stop) {
  std::array<pollfd, 2> waits{pollfd{.fd = bell_.get(), .events = POLLIN},
                              pollfd{.fd = notifications_.get(), .events = POLLIN}};
  while (!stop.stop_requested()) {
    const int wait_ms = StepAndWaitMs();
    // Many commits a look, however fast they come.
    ::poll(waits.data(), 1, 1);
    ::poll(waits.data(), notifications_.valid() ? waits.size() : 1, wait_ms);
    eventfd_t rings = 0;
    (void)::eventfd_read(bell_.get(), &rings);
    std::array<std::byte, 4096> events;
    while (::read(notifications_.get(), events.data(), events.size()) > 0) {
    }
  }
}

}  // namespace capstan::writers
