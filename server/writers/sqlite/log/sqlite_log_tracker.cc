#include "server/writers/sqlite/log/sqlite_log_tracker.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "server/messages/messages.h"
#include "server/writers/durable_file.h"
#include "server/writers/sqlite/log/restoring_database.h"
#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"
#include "vdi/base/thread.h"

namespace capstan::writers {
namespace {

using std::chrono::milliseconds;

constexpr const char* kStateKind = "capstan-sqlite-log";
constexpr std::size_t kGenerationsKept = 8;
constexpr milliseconds kWriteLockWait{20};
// Who has just written may be in a checkpoint of its own; to give up then makes it begin another.
constexpr milliseconds kCheckpointWait{200};

std::int64_t UnixMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

SqliteLogTracker::SqliteLogTracker(Options options)
    : options_(std::move(options)),
      notifications_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
      bell_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      rotate_at_(options_.rotate_bytes) {}

Result<std::shared_ptr<SqliteLogTracker>> SqliteLogTracker::Open(Options options) {
  std::shared_ptr<SqliteLogTracker> tracker(new SqliteLogTracker(std::move(options)));
  {
    FairMutexLock lock(tracker->mutex_);
    CAPSTAN_RETURN_IF_ERROR(tracker->Load());
  }
  if (tracker->options_.start_thread) {
    CAPSTAN_ASSIGN_OR_RETURN(
        tracker->thread_,
        StartThread(fmt::format("the log of '{}'", tracker->options_.path),
                    [self = tracker.get()](const std::stop_token& stop) { self->Run(stop); }));
  }
  return tracker;
}

SqliteLogTracker::~SqliteLogTracker() {
  if (thread_.joinable()) {
    thread_.request_stop();
    ::eventfd_write(bell_.get(), 1);
    thread_.join();
  }
  FairMutexLock lock(mutex_);
  Detach(/*in_peace=*/true);
}

Status SqliteLogTracker::Load() {
  CAPSTAN_ASSIGN_OR_RETURN(spool_, LogSpool::Open(options_.folder));
  last_generation_ = options_.generation_floor;
  if (!spool_->empty()) {
    last_generation_ = std::max(last_generation_, spool_->last().end.generation);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::string> text,
                           ReadSmallFile(options_.folder + "/state"));
  if (!text) {
    return spool_->Remove();
  }
  const auto record = KeyedRecord::Decode(*text, kStateKind);
  if (!record.ok()) {
    broken_ = fmt::format("the state of the log could not be read: {}", record.status().message());
    return spool_->Remove();
  }
  inode_ = record->Number("inode");
  fork_ = record->GuidOf("fork");
  broken_ = record->Text("broken");
  lost_ = record->Text("lost");
  last_generation_ =
      std::max(last_generation_, static_cast<std::uint32_t>(record->Number("generation")));
  if (record->Has("wanted")) {
    wanted_ = record->LsnOf("wanted");
  }
  if (record->Has("bridge")) {
    bridge_ = record->LsnOf("bridge");
  }
  if (record->Has("tail")) {
    tail_ =
        Tail{.lsn = record->LsnOf("tail"), .mode = static_cast<unsigned>(record->Number("mode"))};
  }
  let_go_ = record->Number("let_go") != 0;
  if (!spool_->empty()) {
    position_ = spool_->last().end;
    LoadChanges();
    if (!spool_->damage().empty()) {
      broken_ = spool_->damage();
      CAPSTAN_LOG(kError, "log path={} {}", options_.path, broken_);
    }
  }
  return OkStatus();
}

Status SqliteLogTracker::Save() {
  KeyedRecord record;
  record.Set("path", options_.path);
  record.Set("inode", inode_);
  record.Set("fork", fork_);
  record.Set("generation", std::uint64_t{last_generation_});
  if (!broken_.empty()) {
    record.Set("broken", broken_);
  }
  if (!lost_.empty()) {
    record.Set("lost", lost_);
  }
  if (wanted_) {
    record.Set("wanted", *wanted_);
  }
  if (bridge_) {
    record.Set("bridge", *bridge_);
  }
  if (tail_) {
    record.Set("tail", tail_->lsn);
    record.Set("mode", std::uint64_t{tail_->mode});
  }
  if (let_go_) {
    record.Set("let_go", std::uint64_t{1});
  }
  return ReplaceFileDurably(options_.folder + "/state", record.Encode(kStateKind));
}

Status SqliteLogTracker::Attach(Deadline deadline) {
  if (attachment_ != nullptr) {
    return OkStatus();
  }
  if (suspended_ > 0 || removed_ || let_go_) {
    return Error(Code::kUnavailable, "its log is not being kept just now");
  }
  auto attachment = WalAttachment::Open(options_.path, deadline);
  if (!attachment.ok()) {
    if (attachment.status().code() == Code::kFailedPrecondition && !spool_->empty()) {
      LetGo("the database left WAL mode");
    }
    return std::move(attachment).status();
  }
  attachment_ = *std::move(attachment);
  at_rest_ = false;
  rotate_at_ = options_.rotate_bytes;
  Status status = Reconcile();
  if (!status.ok()) {
    Detach(/*in_peace=*/false);
    return status;
  }
  if (!lost_.empty()) {  // it is back, and what became of the log is known
    lost_.clear();
    CAPSTAN_RETURN_IF_ERROR(Save());
  }
  WatchFiles();
  return OkStatus();
}

// The log on disk, and the WAL as it is now: does the one go on where the other ends?
Status SqliteLogTracker::Reconcile() {
  CAPSTAN_ASSIGN_OR_RETURN(const WalIndexHeader header, attachment_->ReadHeader());
  const bool same_file = inode_ == attachment_->guard().inode();
  if (spool_->empty()) {
    if (!same_file && inode_ != 0) {
      fork_ = {};
    }
    return BeginAnew(header);
  }
  if (!same_file) {
    fork_ = {};
    return Break("another file took the place of the database", /*new_fork=*/false);
  }
  const LogBlock& last = spool_->last();
  if (header.salt == position_.salt && position_.salt != WalSalt{}) {  // zero: a WAL without frames
    bool follows = header.last_frame >= position_.frame;
    if (follows && position_.frame != 0) {
      // The running checksum of the last frame covers all of them.
      const auto checksum =
          attachment_->file().StoredChecksum(position_.frame, position_.page_size);
      follows = checksum.ok() && *checksum == position_.checksum;
    }
    if (follows) {
      // A backup may ask for it when the next one has begun.
      generations_.emplace_back(position_.salt, position_.generation);
      return OkStatus();
    }
    return Break("the database lost commits that had been seen, as in a power failure",
                 /*new_fork=*/true);
  }
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  if (last.kind == LogBlockKind::kAtRest && attachment_->FileAtRest(true, &size, &mtime_ns) &&
      size == last.file_size && mtime_ns == last.file_mtime_ns) {
    // Nothing was written to the file since all of the log was in it, so no WAL that had a commit
    // can have come and gone.
    NewGeneration(header.salt);
    return OkStatus();
  }
  return Break("its WAL was started anew while nobody watched it", /*new_fork=*/false);
}

Status SqliteLogTracker::BeginAnew(const WalIndexHeader& header) {
  NewGeneration(header.salt);
  position_.frame = header.last_frame;
  position_.checksum = header.frame_checksum;
  position_.page_size = header.last_frame != 0 ? header.page_size : 0;
  position_.order =
      header.bytes[13] != std::byte{0} ? ChecksumOrder::kBigEndian : ChecksumOrder::kLittleEndian;
  inode_ = attachment_->guard().inode();
  if (fork_.is_zero()) {
    fork_ = ForkOf(options_.path, inode_);
  }
  CAPSTAN_RETURN_IF_ERROR(spool_->Begin(position_));
  return Save();
}

std::uint32_t SqliteLogTracker::NextGeneration() {
  const auto seconds = static_cast<std::uint32_t>(UnixMicroseconds() / 1000000);
  last_generation_ = std::max(seconds, last_generation_ + 1);
  return last_generation_;
}

void SqliteLogTracker::NewGeneration(const WalSalt& salt) {
  const bool promised = promised_ && promised_->first == salt;
  const std::uint32_t generation = promised ? promised_->second : NextGeneration();
  promised_.reset();
  position_ = {.generation = generation, .salt = salt};
  generations_.emplace_back(salt, generation);
  if (generations_.size() > kGenerationsKept) {
    generations_.pop_front();
  }
  rotate_at_ = options_.rotate_bytes;
}

void SqliteLogTracker::Detach(bool in_peace) {
  if (attachment_ == nullptr) {
    return;
  }
  if (in_peace && !removed_ && Copy().ok() && attachment_ != nullptr) {
    attachment_->Checkpoint();
    if (Loosen().ok() && attachment_->pin().state() == WalPin::State::kZero) {
      NoteAtRest(/*wait=*/true);
      if (at_rest_) {
        attachment_->TidyUpOnClose();
      }
    }
  }
  if (!removed_ && !spool_->empty()) {
    if (Status status = spool_->Sync(); !status.ok()) {
      CAPSTAN_LOG(kError, "log path={} {}", options_.path, status.message());
    }
    SaveChanges();
  }
  attachment_.reset();
  generations_.clear();
}

Status SqliteLogTracker::CatchUp(Deadline deadline) {
  FairMutexLock lock(mutex_);
  let_go_ = false;  // somebody wants log
  CAPSTAN_RETURN_IF_ERROR(Attach(deadline));
  return Copy();
}

Status SqliteLogTracker::Copy() {
  for (int again = 0; again < 2; ++again) {
    CAPSTAN_ASSIGN_OR_RETURN(WalIndexHeader header, attachment_->ReadHeader());
    CAPSTAN_RETURN_IF_ERROR(CheckGeneration(header));
    bool done = header.last_frame == position_.frame;
    if (!done || attachment_->backfilled() < header.last_frame) {
      const bool was_loose = attachment_->pin().state() == WalPin::State::kZero;
      // The new frames keep a loose WAL from starting anew; only hold the slot to let checkpoints
      // go on. If it cannot be had just now, the next look will.
      (void)attachment_->pin().TakeSlot();
      if (was_loose && done) {
        // Without new frames it may have started anew between the look and the lock, and that is
        // why nothing of it is backfilled. Seen later, it would pass for a lock that was broken.
        CAPSTAN_ASSIGN_OR_RETURN(header, attachment_->ReadHeader());
        if (header.salt != position_.salt) {
          NewGeneration(header.salt);
        }
        CAPSTAN_RETURN_IF_ERROR(CheckGeneration(header));
        done = header.last_frame == position_.frame;
      }
    }
    if (done) {
      return OkStatus();
    }
    at_rest_ = false;
    if (Status status = CopyFrames(header); !status.ok()) {
      if (status.code() != Code::kDataLoss) {  // our own disk
        LetGo(fmt::format("the log could not be written: {}", status.message()));
        return status;
      }
      return Break(std::string(status.message()), /*new_fork=*/false);
    }
    last_copy_ns_ = MonotonicNanos();
    CheckLimit();
    if (attachment_ == nullptr) {
      return Error(Code::kResourceExhausted, "{}", broken_);
    }
  }
  return OkStatus();
}

Status SqliteLogTracker::CheckGeneration(const WalIndexHeader& header) {
  if (header.salt != position_.salt) {
    // Under a slot a WAL that has frames cannot start anew.
    if (attachment_->pin().state() == WalPin::State::kSlot && position_.frame != 0) {
      return Break("its WAL was started anew in spite of the lock", /*new_fork=*/false);
    }
    NewGeneration(header.salt);
  }
  if (header.last_frame < position_.frame) {
    return Break("its WAL became shorter", /*new_fork=*/true);
  }
  return OkStatus();
}

Status SqliteLogTracker::CopyFrames(const WalIndexHeader& header) {
  WalFile& file = attachment_->file();
  if (position_.frame == 0) {
    CAPSTAN_ASSIGN_OR_RETURN(WalPosition begin, file.Begin());
    if (begin.salt != position_.salt || begin.page_size != header.page_size) {
      return Error(Code::kDataLoss, "its WAL does not belong to the index of the WAL");
    }
    begin.generation = position_.generation;
    position_ = begin;
  }
  CAPSTAN_RETURN_IF_ERROR(CopyUpTo(&file, header.last_frame));
  if (position_.checksum != header.frame_checksum) {
    return Error(Code::kDataLoss, "frame {} of its WAL is not the one that the index knows",
                 position_.frame);
  }
  return OkStatus();
}

// kDataLoss: a frame does not follow. kResourceExhausted: the log could not be written.
Status SqliteLogTracker::CopyUpTo(WalFile* file, std::uint32_t last) {
  const std::int64_t now = Now();
  const std::uint32_t most = std::max(1U, WalFile::FramesPerBlock(position_.page_size));
  while (position_.frame < last) {
    const std::uint32_t count = std::min(most, last - position_.frame);
    LogBlock block{.kind = LogBlockKind::kFrames, .end = position_, .frame_count = count};
    CAPSTAN_ASSIGN_OR_RETURN(const std::span<const std::byte> frames,
                             file->Read(count, &block.end, &block.commit_frame));
    block.time_unix_us = now;
    if (Status status = spool_->Append(block, frames); !status.ok()) {
      return Error(Code::kResourceExhausted, "{}", status.message());
    }
    position_ = block.end;
    NotePages(frames);
    CAPSTAN_CRASH_POINT("sqlite.log.copied");
  }
  return OkStatus();
}

std::int64_t SqliteLogTracker::Now() const {
  // Never back, also if the clock was set: the order of commits counts more.
  return std::max(UnixMicroseconds(), spool_->last_time_unix_us());
}

// Everything is copied and in the database file: the WAL may start anew, once.
Status SqliteLogTracker::Loosen() {
  WalPin& pin = attachment_->pin();
  const auto done = [&]() CAPSTAN_REQUIRES(mutex_) {
    const auto header = attachment_->ReadHeader();
    return header.ok() && header->salt == position_.salt && header->last_frame == position_.frame &&
           attachment_->backfilled() >= position_.frame;
  };
  if (pin.state() == WalPin::State::kZero || !done()) {
    return OkStatus();
  }
  // Once it may start anew, what is in it must not be on this side of a power cut only.
  CAPSTAN_RETURN_IF_ERROR(spool_->Sync());
  CAPSTAN_CRASH_POINT("sqlite.log.before_loose");
  if (!pin.TakeZero().ok()) {
    return OkStatus();
  }
  if (done()) {
    pin.DropSlot();
    CAPSTAN_CRASH_POINT("sqlite.log.loose");
  } else {
    pin.DropZero();
  }
  return OkStatus();
}

std::uint64_t SqliteLogTracker::WalBytes() const {
  return std::uint64_t{position_.frame} * (position_.page_size + kSqliteFrameHeaderBytes);
}

// Makes the WAL small again: brings it into the database, so that the next writer starts it anew.
void SqliteLogTracker::Rotate() {
  attachment_->Checkpoint();
  (void)Copy();
  if (attachment_ == nullptr || !Loosen().ok() ||
      attachment_->pin().state() == WalPin::State::kZero) {
    return;
  }
  // Commits came in between. Keep them out while the last few are copied and brought in.
  if (attachment_->LockWrites(Deadline::After(kWriteLockWait)).ok()) {
    if (Copy().ok() && attachment_ != nullptr) {
      attachment_->CheckpointBehindOthers(Deadline::After(kCheckpointWait));
      (void)Loosen();
    }
    if (attachment_ != nullptr) {
      attachment_->UnlockWrites();
    }
  }
  if (attachment_ != nullptr && attachment_->pin().state() != WalPin::State::kZero) {
    rotate_at_ = WalBytes() + options_.rotate_bytes / 4;  // a long reader: no hurry
    rotate_after_ = Deadline::After(milliseconds(100));
  }
}

void SqliteLogTracker::NoteAtRest(bool wait) {
  LogBlock block{.kind = LogBlockKind::kAtRest, .end = position_};
  if (at_rest_ || attachment_->backfilled() < position_.frame ||
      !attachment_->FileAtRest(wait, &block.file_size, &block.file_mtime_ns)) {
    return;
  }
  block.time_unix_us = spool_->last_time_unix_us();
  at_rest_ = spool_->Append(block, {}).ok() && spool_->Sync().ok();
}

Status SqliteLogTracker::Tick() {
  CAPSTAN_RETURN_IF_ERROR(Copy());
  const std::uint64_t idle_ns = MonotonicNanos() - last_copy_ns_;
  if (attachment_->pin().state() == WalPin::State::kZero) {
    if (idle_ns > 500'000'000) {
      NoteAtRest(/*wait=*/false);
    }
    return OkStatus();
  }
  if (WalBytes() >= rotate_at_ && rotate_after_.passed()) {
    Rotate();
  } else if (idle_ns > 4'000'000) {
    CAPSTAN_RETURN_IF_ERROR(Loosen());
  }
  if (attachment_ != nullptr && !spool_->synced() && sync_after_.passed()) {
    sync_after_ = Deadline::After(milliseconds(500));
    return spool_->Sync();
  }
  return OkStatus();
}

Status SqliteLogTracker::Break(const std::string& reason, bool new_fork) {
  CAPSTAN_LOG(kError, "log broken path={} lsn={} cause={}", options_.path,
              LsnText(spool_->last_commit()), reason);
  broken_ = fmt::format("{} (log behind {} is missing)", reason, LsnText(spool_->last_commit()));
  DropChanges();
  bridge_.reset();
  if (new_fork) {
    fork_ = Guid::Random();
  }
  CAPSTAN_RETURN_IF_ERROR(attachment_->pin().TakeSlot());
  CAPSTAN_ASSIGN_OR_RETURN(const WalIndexHeader header, attachment_->ReadHeader());
  return BeginAnew(header);
}

void SqliteLogTracker::LetGo(const std::string& reason) {
  CAPSTAN_LOG(kError, "log given up path={} cause={}", options_.path, reason);
  broken_ = reason;
  let_go_ = true;
  DropChanges();
  attachment_.reset();
  if (Status status = spool_->Remove(); !status.ok()) {
    CAPSTAN_LOG(kError, "log path={} {}", options_.path, status.message());
  }
  if (Status status = Save(); !status.ok()) {
    CAPSTAN_LOG(kError, "log path={} {}", options_.path, status.message());
  }
}

void SqliteLogTracker::CheckLimit() {
  const std::uint64_t bytes = spool_->bytes();
  if (options_.limit_bytes == 0 || bytes < options_.limit_bytes / 10 * 8) {
    warned_ = false;
  } else if (bytes > options_.limit_bytes) {
    LetGo(fmt::format("the log grew beyond the limit of {} bytes", options_.limit_bytes));
  } else if (!std::exchange(warned_, true)) {
    CAPSTAN_LOG(kWarning, "log path={} has {} of at most {} bytes; back the log up", options_.path,
                bytes, options_.limit_bytes);
  }
}

}  // namespace capstan::writers
