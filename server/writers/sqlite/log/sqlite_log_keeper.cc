#include "server/writers/sqlite/log/sqlite_log_keeper.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <sys/stat.h>

#include "server/writers/durable_file.h"
#include "server/writers/sqlite/log/page_hash.h"
#include "vdi/base/log.h"

namespace capstan::writers {
namespace {

constexpr std::chrono::seconds kFenceWait{2};
constexpr const char* kFloorKind = "capstan-sqlite-generations";
constexpr unsigned kWriteBits = S_IWUSR | S_IWGRP | S_IWOTH;

// For programs that come while the server is not there to hold the lock.
void WriteProtect(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 ||
      ::chmod(path.c_str(), info.st_mode & 07777 & ~kWriteBits) != 0) {
    CAPSTAN_LOG(kWarning, "unable to write-protect path={} errno={}", path, errno);
  }
}

}  // namespace

std::string ResolveDatabasePath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr),
                                                             &std::free);
  return resolved != nullptr ? std::string(resolved.get()) : path;
}

SqliteLogKeeper::SqliteLogKeeper(Options options) : options_(std::move(options)) {
  if (!enabled()) {
    return;
  }
  const auto text = ReadSmallFile(FloorPath());
  if (text.ok() && *text) {
    const auto record = KeyedRecord::Decode(**text, kFloorKind);
    MutexLock lock(mutex_);
    generation_floor_ = record.ok() ? static_cast<std::uint32_t>(record->Number("generation")) : 0;
  }
}

std::uint32_t SqliteLogKeeper::NextGeneration(std::uint32_t behind) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count();
  MutexLock lock(mutex_);
  generation_floor_ =
      std::max({static_cast<std::uint32_t>(seconds), behind + 1, generation_floor_ + 1});
  return generation_floor_;
}

SqliteLogKeeper::Claim::~Claim() {
  if (keeper_ != nullptr) {
    tracker_.reset();
    keeper_->Release(path_);
  }
}

SqliteLogKeeper::Suspension::Suspension(std::shared_ptr<SqliteLogKeeper> keeper, std::string path,
                                        std::shared_ptr<SqliteLogTracker> tracker)
    : keeper_(std::move(keeper)), path_(std::move(path)), tracker_(std::move(tracker)) {
  if (tracker_ != nullptr) {
    keeper_->BeginSuspension(path_, *tracker_);
  }
}

SqliteLogKeeper::Suspension::~Suspension() {
  if (tracker_ != nullptr) {
    keeper_->EndSuspension(path_, *tracker_);
  }
}

void SqliteLogKeeper::Suspension::Replaced(const Guid& fork) {
  if (tracker_ != nullptr) {
    tracker_->Forget("the database was restored", fork);
  }
}

std::string SqliteLogKeeper::FolderOf(const std::string& path) const {
  return fmt::format("{}/{:016x}", options_.folder, HashBytes(std::as_bytes(std::span(path))));
}

Result<std::shared_ptr<SqliteLogTracker>> SqliteLogKeeper::Make(const std::string& path) {
  auto& tracker = trackers_[path];
  if (tracker == nullptr) {
    auto made = SqliteLogTracker::Open({.path = path,
                                        .folder = LogFolderOf(path),
                                        .limit_bytes = options_.limit_bytes,
                                        .generation_floor = generation_floor_});
    if (!made.ok()) {
      trackers_.erase(path);
      return made;
    }
    tracker = *std::move(made);
  }
  return tracker;
}

void SqliteLogKeeper::Drop(const std::string& path) {
  if (const auto found = trackers_.find(path); found != trackers_.end()) {
    generation_floor_ = std::max(generation_floor_, found->second->last_generation());
    KeyedRecord record;
    record.Set("generation", std::uint64_t{generation_floor_});
    if (Status status = ReplaceFileDurably(FloorPath(), record.Encode(kFloorKind)); !status.ok()) {
      CAPSTAN_LOG(kError, "generations path={} {}", FloorPath(), status.message());
    }
    LowerTail(path, *found->second);  // nobody will replace it
    found->second->Remove();
    trackers_.erase(found);
  }
}

Result<SqliteLogKeeper::Claim> SqliteLogKeeper::Track(const std::string& path) {
  MutexLock lock(mutex_);
  const auto kept = kept_.find(path);
  if (!enabled() ||
      (kept != kept_.end() && kept->second.recovery_model == RecoveryModel::kSimple)) {
    return Claim();
  }
  CAPSTAN_ASSIGN_OR_RETURN(std::shared_ptr<SqliteLogTracker> tracker, Make(path));
  ++claims_[path];
  return Claim(shared_from_this(), path, std::move(tracker));
}

void SqliteLogKeeper::Release(const std::string& path) {
  MutexLock lock(mutex_);
  const auto found = trackers_.find(path);
  if (--claims_[path] == 0) {
    claims_.erase(path);
    if (found != trackers_.end() && !found->second->wanted()) {
      Drop(path);
    }
  }
}

std::shared_ptr<SqliteLogTracker> SqliteLogKeeper::Find(const std::string& path) {
  MutexLock lock(mutex_);
  const auto found = trackers_.find(path);
  return found != trackers_.end() ? found->second : nullptr;
}

bool SqliteLogKeeper::is_simple(const std::string& path) const {
  MutexLock lock(mutex_);
  const auto kept = kept_.find(path);
  return kept != kept_.end() && kept->second.recovery_model == RecoveryModel::kSimple;
}

SqliteLogKeeper::Suspension SqliteLogKeeper::Suspend(const std::string& path) {
  return Suspension(shared_from_this(), path, Find(path));
}

void SqliteLogKeeper::Keep(const std::vector<KeptDatabase>& databases) {
  if (!enabled()) {
    return;
  }
  MutexLock lock(mutex_);
  kept_.clear();
  for (const KeptDatabase& database : databases) {
    const std::string path = ResolveDatabasePath(database.location);
    kept_[path] = database;
    if (database.recovery_model == RecoveryModel::kSimple || !database.log_from ||
        database.being_replaced) {
      continue;
    }
    if (database.being_restored && !std::filesystem::exists(LogFolderOf(path))) {
      continue;  // nothing is kept of what is there
    }
    const bool is_new = !trackers_.contains(path);
    auto tracker = Make(path);
    if (!tracker.ok()) {
      CAPSTAN_LOG(kError, "no log is kept path={} {}", path, tracker.status().message());
      continue;
    }
    (*tracker)->Want(*database.log_from);
    if (is_new) {
      // It follows the database when this returns, if it can: whoever is told that the server is
      // there may be the last one to leave the database. What keeps it from it is logged by its
      // thread, which goes on trying.
      (void)(*tracker)->Log(*database.log_from);
    }
    KeepTail(path, **tracker, *database.log_from);
  }
  RemoveStrangers();
}

// Trackers and folders of databases whose log nobody wants any more.
void SqliteLogKeeper::RemoveStrangers() {
  std::set<std::string> folders;
  std::vector<std::string> unwanted;
  for (const auto& [path, database] : kept_) {
    folders.insert(FolderOf(path));
  }
  for (const auto& [path, tracker] : trackers_) {
    const auto kept = kept_.find(path);
    const bool wanted = kept != kept_.end() && kept->second.log_from &&
                        kept->second.recovery_model != RecoveryModel::kSimple;
    if (!wanted && !claims_.contains(path)) {
      unwanted.push_back(path);
    } else {
      folders.insert(FolderOf(path));
    }
  }
  for (const std::string& path : unwanted) {
    Drop(path);
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.folder, error)) {
    if (!folders.contains(entry.path()) && entry.path() != FloorPath()) {
      std::filesystem::remove_all(entry.path(), error);
    }
  }
}

// After a restart: is the tail backup that closed the database one that was committed?
void SqliteLogKeeper::KeepTail(const std::string& path, SqliteLogTracker& tracker, Lsn log_from) {
  const auto tail = tracker.tail();
  if (!tail || tails_.contains(path) || tails_in_hand_.contains(path)) {
    return;
  }
  if (log_from < tail->lsn) {
    tracker.SetTail({});
  } else {
    RaiseTail(path);
  }
}

void SqliteLogKeeper::RaiseTail(const std::string& path) {
  auto guard = SqliteFileGuard::Acquire(path);
  auto fence = guard.ok()
                   ? SqliteWriteFence::Raise(path, {.lock_deadline = Deadline::After(kFenceWait)})
                   : Result<SqliteWriteFence>(guard.status());
  if (fence.ok()) {
    tails_.emplace(path, Tail{*std::move(guard), *std::move(fence)});
    WriteProtect(path);
  } else {
    CAPSTAN_LOG(kError, "unable to keep writers from a database whose tail is backed up path={} {}",
                path, fence.status().message());
  }
}

void SqliteLogKeeper::LowerTail(const std::string& path, const SqliteLogTracker& tracker) {
  if (const auto tail = tracker.tail()) {
    (void)::chmod(path.c_str(), tail->mode);
  }
  tails_.erase(path);
}

void SqliteLogKeeper::PutDownTail(const std::string& path) {
  if (const auto found = tails_in_hand_.find(path); found != tails_in_hand_.end()) {
    tails_in_hand_.erase(found);
  }
}

void SqliteLogKeeper::BeginSuspension(const std::string& path, SqliteLogTracker& tracker) {
  tracker.Suspend();
  MutexLock lock(mutex_);
  tails_in_hand_.insert(path);
  LowerTail(path, tracker);
}

void SqliteLogKeeper::EndSuspension(const std::string& path, SqliteLogTracker& tracker) {
  {
    MutexLock lock(mutex_);
    PutDownTail(path);
    if (tracker.tail() && !tails_.contains(path) && !tails_in_hand_.contains(path)) {
      RaiseTail(path);  // it was not replaced
    }
  }
  tracker.Resume();
}

void SqliteLogKeeper::NoteTail(const std::string& path, SqliteLogTracker& tracker,
                               const SqliteLogTracker::Tail& tail) {
  MutexLock lock(mutex_);
  tails_in_hand_.insert(path);
  tracker.SetTail(tail);
}

void SqliteLogKeeper::ForgetTail(const std::string& path, SqliteLogTracker& tracker) {
  MutexLock lock(mutex_);
  PutDownTail(path);
  tracker.SetTail({});
}

void SqliteLogKeeper::CloseForWriters(const std::string& path, Tail tail) {
  MutexLock lock(mutex_);
  PutDownTail(path);
  WriteProtect(path);
  tails_.emplace(path, std::move(tail));
}

bool SqliteLogKeeper::OpenForWriters(const std::string& path) {
  MutexLock lock(mutex_);
  const auto found = trackers_.find(path);
  const auto tail = found != trackers_.end() ? found->second->tail() : std::nullopt;
  if (tail) {
    (void)::chmod(path.c_str(), tail->mode);
    found->second->SetTail({});
  }
  return tails_.erase(path) != 0 || tail;
}

}  // namespace capstan::writers
