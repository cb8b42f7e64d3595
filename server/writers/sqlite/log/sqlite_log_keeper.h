// SqliteLogKeeper: the log trackers of all SQLite databases of this server, and what else is kept
// of them between backups: page hashes of full backups, databases closed by a tail backup.
//
// Everything lies under one folder, in a folder per database named by a hash of its path. Shared by
// the writer and its sessions, which may outlive it. Threads: any.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/log/sqlite_log_tracker.h"
#include "server/writers/sqlite/sqlite_file_guard.h"
#include "server/writers/sqlite/sqlite_write_fence.h"
#include "vdi/base/mutex.h"

namespace capstan::writers {

class SqliteLogKeeper : public std::enable_shared_from_this<SqliteLogKeeper> {
 public:
  struct Options {
    std::string folder;  // empty: nothing is kept, so no log backups
    std::uint64_t limit_bytes = std::uint64_t{1} << 30;  // of each database's log
  };
  explicit SqliteLogKeeper(Options options);

  // Paths are resolved ones: ResolveDatabasePath.
  bool enabled() const { return !options_.folder.empty(); }
  // Where page hashes are.
  std::string FolderOf(const std::string& path) const;

  void Keep(const std::vector<KeptDatabase>& databases);

  // A generation of an LSN of any database whose log is not kept: trackers begin behind it, and it
  // behind those of trackers that are gone.
  std::uint32_t NextGeneration(std::uint32_t behind);

  // Keeps a tracker alive that nobody has asked to keep yet: for a full backup, after which
  // somebody will. Released with the object.
  class Claim {
   public:
    Claim() = default;
    Claim(std::shared_ptr<SqliteLogKeeper> keeper, std::string path,
          std::shared_ptr<SqliteLogTracker> tracker)
        : keeper_(std::move(keeper)), path_(std::move(path)), tracker_(std::move(tracker)) {}
    Claim(Claim&&) noexcept = default;
    Claim& operator=(Claim&&) = delete;
    ~Claim();
    SqliteLogTracker* operator->() const { return tracker_.get(); }
    explicit operator bool() const { return tracker_ != nullptr; }

   private:
    std::shared_ptr<SqliteLogKeeper> keeper_;
    std::string path_;
    std::shared_ptr<SqliteLogTracker> tracker_;
  };
  // The tracker of the database, made if there is none; none if the database is SIMPLE.
  Result<Claim> Track(const std::string& path);
  // Null if there is none.
  std::shared_ptr<SqliteLogTracker> Find(const std::string& path);
  bool is_simple(const std::string& path) const;

  // While it exists, nothing of ours has the database open, nor keeps writers from it.
  class Suspension {
   public:
    Suspension() = default;
    Suspension(std::shared_ptr<SqliteLogKeeper> keeper, std::string path,
               std::shared_ptr<SqliteLogTracker> tracker);
    Suspension(Suspension&&) noexcept = default;
    Suspension& operator=(Suspension&&) noexcept = default;  // REQUIRES: this one is empty
    ~Suspension();
    // Another database has taken its place.
    void Replaced(const Guid& fork);

   private:
    std::shared_ptr<SqliteLogKeeper> keeper_;
    std::string path_;
    std::shared_ptr<SqliteLogTracker> tracker_;
  };
  Suspension Suspend(const std::string& path);

  // What keeps writers from a database.
  struct Tail {
    SqliteFileGuard guard;
    SqliteWriteFence fence;  // goes first
  };
  // A tail backup that is about to be committed: noted, so that after a crash Keep can tell by the
  // log that is wanted whether it was. Followed by ForgetTail, or by CloseForWriters: then nobody
  // writes to the database from now on, also after a restart.
  void NoteTail(const std::string& path, SqliteLogTracker& tracker,
                const SqliteLogTracker::Tail& tail);
  void ForgetTail(const std::string& path, SqliteLogTracker& tracker);
  void CloseForWriters(const std::string& path, Tail tail);
  // Undoes it. False if it was not closed.
  bool OpenForWriters(const std::string& path);

 private:
  void Release(const std::string& path);
  Result<std::shared_ptr<SqliteLogTracker>> Make(const std::string& path) CAPSTAN_REQUIRES(mutex_);
  void Drop(const std::string& path) CAPSTAN_REQUIRES(mutex_);
  std::string LogFolderOf(const std::string& path) const { return FolderOf(path) + "/log"; }
  std::string FloorPath() const { return options_.folder + "/generations"; }
  void KeepTail(const std::string& path, SqliteLogTracker& tracker, Lsn log_from)
      CAPSTAN_REQUIRES(mutex_);
  void RaiseTail(const std::string& path) CAPSTAN_REQUIRES(mutex_);
  void LowerTail(const std::string& path, const SqliteLogTracker& tracker) CAPSTAN_REQUIRES(mutex_);
  void PutDownTail(const std::string& path) CAPSTAN_REQUIRES(mutex_);
  void BeginSuspension(const std::string& path, SqliteLogTracker& tracker);
  void EndSuspension(const std::string& path, SqliteLogTracker& tracker);
  void RemoveStrangers() CAPSTAN_REQUIRES(mutex_);

  const Options options_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<SqliteLogTracker>> trackers_ CAPSTAN_GUARDED_BY(mutex_);
  std::map<std::string, int> claims_ CAPSTAN_GUARDED_BY(mutex_);
  std::map<std::string, KeptDatabase> kept_ CAPSTAN_GUARDED_BY(mutex_);
  std::map<std::string, Tail> tails_ CAPSTAN_GUARDED_BY(mutex_);
  // Of which a session or a suspension has the tail in hand: Keep leaves it alone.
  std::multiset<std::string> tails_in_hand_ CAPSTAN_GUARDED_BY(mutex_);
  // Of LSNs, on disk as far as trackers have left it behind: LSNs of a file never go back.
  std::uint32_t generation_floor_ CAPSTAN_GUARDED_BY(mutex_) = 0;
};

// Absolute, symbolic links resolved; as it is if it leads nowhere.
std::string ResolveDatabasePath(const std::string& path);

}  // namespace capstan::writers
