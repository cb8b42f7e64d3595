// SqliteLogTracker: keeps the log of one database in WAL mode: copies every frame of its WAL into a
// LogSpool before anybody can start the WAL anew, and remembers which pages changed. How it pins
// the WAL, and why nothing gets lost: sqlite.md, "Log".
//
// It never passes over a gap: if frames may have gone unseen, the log so far is dropped, the reason
// is kept in status().broken, and log is kept from the present state on.
// Lives from a database's first full backup until no log of it is wanted. Owns one thread, which
// attaches to the database, follows its WAL, and tries again where it cannot. Threads: any.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/sqlite/log/changed_pages.h"
#include "server/writers/sqlite/log/log_spool.h"
#include "server/writers/sqlite/log/wal_attachment.h"
#include "vdi/base/clock.h"
#include "vdi/base/fair_mutex.h"
#include "vdi/base/guid.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class SqliteLogTracker {
 public:
  struct Options {
    std::string path;               // of the database: absolute, symbolic links resolved
    std::string folder;             // its own
    std::uint64_t limit_bytes = 0;  // 0: none
    // From this size on the WAL is brought into the database, so that it can start anew. Below the
    // 1,000 pages at which SQLite does that itself: then the application need not.
    std::uint64_t rotate_bytes = std::uint64_t{3} << 20;
    bool start_thread = true;            // tests call CatchUp themselves
    std::uint32_t generation_floor = 0;  // generations begin behind it
  };
  // Reads what an earlier one left in the folder. Errors are those of the folder.
  static Result<std::shared_ptr<SqliteLogTracker>> Open(Options options);
  // Lets go of the database so that, if nobody writes meanwhile, the next Open goes on without a
  // gap.
  ~SqliteLogTracker();
  SqliteLogTracker(const SqliteLogTracker&) = delete;
  SqliteLogTracker& operator=(const SqliteLogTracker&) = delete;

  // Attaches if it must; copies everything that is committed now.
  Status CatchUp(Deadline deadline);
  // Log is wanted from here on; what is older may go. nullopt: it was not, until now.
  void Want(Lsn from);
  std::optional<Lsn> wanted() const;
  // A full or differential backup of this LSN is committed: the first one is where log is wanted
  // from, and after a gap, log that is wanted from before it is given from here on.
  void NoteBackup(Lsn lsn);

  LogStatus status() const;
  // The line of history that the log belongs to.
  Guid fork() const;
  // Of the WAL with this salt, which a view of the database sees just now. If the database cannot
  // be followed just now: a number behind all before it, which the log will keep to.
  Result<std::uint32_t> GenerationOf(const WalSalt& salt);
  // The greatest that was ever given.
  std::uint32_t last_generation() const;
  // Where log is kept from, and up to where it has been copied.
  struct Stretch {
    Lsn first;
    Lsn last;
    std::uint32_t page_size = 0;
    std::int64_t time_unix_us = 0;  // everything that was committed before this is in
    std::vector<LogPiece> pieces;
  };
  // Log behind `from`. 4214 if it is not all there, with the reason.
  Result<Stretch> Log(Lsn from);
  // As Log, of a database that cannot be opened: adds what of its WAL still follows. If commits may
  // be missing behind that, fails once with the reason, for all to know (65056), and then gives
  // what there is.
  Result<Stretch> SalvageLog(Lsn from);

  // The pages that change behind `from`, which was not long ago, are remembered under `base`; the
  // last two are kept.
  void FollowChanges(const std::string& base, Lsn from);
  // Those since then, if none may be missing.
  std::optional<ChangedPages> Changes(const std::string& base);

  // Lets go of the database for somebody who needs it alone; Resume attaches again. Nested.
  void Suspend();
  void Resume();
  // The database is a new one: whatever was kept of the old one is of no use.
  void Forget(const std::string& reason, const Guid& fork);
  // A backup WITH NORECOVERY has taken the last log, up to here. Remembered over restarts.
  struct Tail {
    Lsn lsn;
    unsigned mode = 0;  // of the database file before
  };
  void SetTail(std::optional<Tail> tail);
  std::optional<Tail> tail() const;
  // Removes everything on disk. Nothing is kept after that.
  void Remove();

 private:
  explicit SqliteLogTracker(Options options);

  Status Load() CAPSTAN_REQUIRES(mutex_);
  Status Save() CAPSTAN_REQUIRES(mutex_);
  Status Attach(Deadline deadline) CAPSTAN_REQUIRES(mutex_);
  Status Reconcile() CAPSTAN_REQUIRES(mutex_);
  Status BeginAnew(const WalIndexHeader& header) CAPSTAN_REQUIRES(mutex_);
  void Detach(bool in_peace) CAPSTAN_REQUIRES(mutex_);
  Status Tick() CAPSTAN_REQUIRES(mutex_);
  Status Copy() CAPSTAN_REQUIRES(mutex_);
  Status CopyFrames(const WalIndexHeader& header) CAPSTAN_REQUIRES(mutex_);
  Status CheckGeneration(const WalIndexHeader& header) CAPSTAN_REQUIRES(mutex_);
  void NewGeneration(const WalSalt& salt) CAPSTAN_REQUIRES(mutex_);
  std::uint32_t NextGeneration() CAPSTAN_REQUIRES(mutex_);
  std::optional<std::uint32_t> KnownGeneration(const WalSalt& salt) const CAPSTAN_REQUIRES(mutex_);
  Status Loosen() CAPSTAN_REQUIRES(mutex_);
  void Rotate() CAPSTAN_REQUIRES(mutex_);
  void NoteAtRest(bool wait) CAPSTAN_REQUIRES(mutex_);
  Status Break(const std::string& reason, bool new_fork) CAPSTAN_REQUIRES(mutex_);
  void LetGo(const std::string& reason) CAPSTAN_REQUIRES(mutex_);
  void CheckLimit() CAPSTAN_REQUIRES(mutex_);
  void NotePages(std::span<const std::byte> frames) CAPSTAN_REQUIRES(mutex_);
  void LoadChanges() CAPSTAN_REQUIRES(mutex_);
  Status NoteKeptPages(ChangedPages* pages) CAPSTAN_REQUIRES(mutex_);
  void DropChanges() CAPSTAN_REQUIRES(mutex_);
  Result<std::string> FollowToLastCommit() CAPSTAN_REQUIRES(mutex_);
  bool IsStillAtRest() const CAPSTAN_REQUIRES(mutex_);
  Status CommitsLost() const CAPSTAN_REQUIRES(mutex_);
  Status CopyUpTo(WalFile* file, std::uint32_t last) CAPSTAN_REQUIRES(mutex_);
  void SaveChanges() CAPSTAN_REQUIRES(mutex_);
  Result<Stretch> StretchFrom(Lsn from) CAPSTAN_REQUIRES(mutex_);
  std::uint64_t WalBytes() const CAPSTAN_REQUIRES(mutex_);
  bool bridged() const CAPSTAN_REQUIRES(mutex_) {
    return bridge_ && !spool_->empty() && *bridge_ >= spool_->first();
  }
  std::int64_t Now() const CAPSTAN_REQUIRES(mutex_);
  void WatchFiles() CAPSTAN_REQUIRES(mutex_);
  void Run(const std::stop_token& stop);
  int StepAndWaitMs();

  const Options options_;
  UniqueFd notifications_;  // inotify
  UniqueFd bell_;           // eventfd: wakes the thread

  mutable FairMutex mutex_;  // the thread that looks has it nearly always
  std::optional<LogSpool> spool_ CAPSTAN_GUARDED_BY(mutex_);
  std::unique_ptr<WalAttachment> attachment_ CAPSTAN_GUARDED_BY(mutex_);
  WalPosition position_ CAPSTAN_GUARDED_BY(mutex_);
  std::deque<std::pair<WalSalt, std::uint32_t>> generations_ CAPSTAN_GUARDED_BY(mutex_);
  // Told before the log had got there.
  std::optional<std::pair<WalSalt, std::uint32_t>> promised_ CAPSTAN_GUARDED_BY(mutex_);
  std::map<std::string, ChangedPages> changes_ CAPSTAN_GUARDED_BY(mutex_);
  // In the file "state":
  std::uint64_t inode_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  Guid fork_ CAPSTAN_GUARDED_BY(mutex_);
  std::optional<Lsn> wanted_ CAPSTAN_GUARDED_BY(mutex_);
  std::optional<Lsn> bridge_ CAPSTAN_GUARDED_BY(mutex_);  // over the last gap
  std::string broken_ CAPSTAN_GUARDED_BY(mutex_);
  std::string lost_ CAPSTAN_GUARDED_BY(mutex_);  // why commits may be missing behind the log
  std::uint32_t last_generation_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::optional<Tail> tail_ CAPSTAN_GUARDED_BY(mutex_);

  int suspended_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  bool let_go_ CAPSTAN_GUARDED_BY(mutex_) = false;  // until somebody wants log again
  bool removed_ CAPSTAN_GUARDED_BY(mutex_) = false;
  bool warned_ CAPSTAN_GUARDED_BY(mutex_) = false;   // of the limit
  bool at_rest_ CAPSTAN_GUARDED_BY(mutex_) = false;  // noted, and true since
  std::string last_problem_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint64_t rotate_at_ CAPSTAN_GUARDED_BY(mutex_) = 0;  // bytes of WAL
  Deadline rotate_after_ CAPSTAN_GUARDED_BY(mutex_) = Deadline::Now();
  Deadline sync_after_ CAPSTAN_GUARDED_BY(mutex_) = Deadline::Now();
  std::uint64_t last_copy_ns_ CAPSTAN_GUARDED_BY(mutex_) = 0;

  std::jthread thread_;  // last: the others outlive it
};

}  // namespace capstan::writers
