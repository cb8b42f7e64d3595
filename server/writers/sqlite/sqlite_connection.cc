#include "server/writers/sqlite/sqlite_connection.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include <sqlite3.h>

#include "server/messages/messages.h"

namespace capstan::writers {
namespace {

// SQLite documentation, "WAL-mode File Format", section 2.3.1: the locks of the wal-index.
constexpr int kWalCheckpointLock = 1;
constexpr int kWalReadLock = 3;  // the first of five

// SQLite's busy handler: 0 gives up. Waits a little longer every time, at most 20 ms.
int WaitForLock(void* context, int attempts) {
  const Deadline& deadline = *static_cast<const Deadline*>(context);
  if (deadline.passed()) {
    return 0;
  }
  const std::chrono::nanoseconds pause = std::chrono::milliseconds(std::min(1 + attempts, 20));
  std::this_thread::sleep_for(std::min(pause, deadline.remaining()));
  return 1;
}

Code CodeOf(int primary_code) {
  switch (primary_code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return Code::kDeadlineExceeded;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return Code::kDataLoss;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return Code::kPermissionDenied;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return Code::kResourceExhausted;
    default:
      return Code::kUnavailable;
  }
}

const char* HintOf(int extended_code) {
  switch (extended_code & 0xff) {
    case SQLITE_BUSY:
      return "another process holds the database exclusively (locking_mode=EXCLUSIVE, or a long "
             "write); end it or allow a longer wait";
    case SQLITE_NOTADB:
      return "the file is encrypted, damaged or of another kind";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return "a database in WAL mode, and one whose journal must be rolled back, needs write "
             "access "
             "to the file and its directory";
    default:
      return "";
  }
}

Status StatusOf(int code, sqlite3* database) {
  if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) {
    return OkStatus();
  }
  const int extended = database != nullptr ? sqlite3_extended_errcode(database) : code;
  const int primary = code & 0xff;
  std::string text = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  int os_error = 0;
  if (database != nullptr && (primary == SQLITE_CANTOPEN || primary == SQLITE_IOERR)) {
    os_error = sqlite3_system_errno(database);
    if (os_error != 0) {
      text += ": " + OsErrorText(os_error);
    }
  }
  return Status(CodeOf(primary), std::move(text)).WithOsError(os_error).WithHint(HintOf(extended));
}

// Percent-encodes what has a meaning in an SQLite URI.
std::string ImmutableUri(const std::string& path) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      uri += fmt::format("%{:02x}", static_cast<unsigned>(c));
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

}  // namespace

void SqliteConnection::Closer::operator()(sqlite3* database) const {
  sqlite3_close_v2(database);
}

SqliteConnection::SqliteConnection(std::unique_ptr<Deadline> lock_deadline, sqlite3* database)
    : lock_deadline_(std::move(lock_deadline)), database_(database) {}

Result<SqliteConnection> SqliteConnection::Open(const std::string& path, SqliteOpenMode mode,
                                                Deadline lock_deadline) {
  sqlite3* database = nullptr;
  const bool immutable = mode == SqliteOpenMode::kImmutable;
  const int flags = SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_PRIVATECACHE |
                    (immutable ? SQLITE_OPEN_READONLY | SQLITE_OPEN_URI : SQLITE_OPEN_READWRITE);
  const std::string name = immutable ? ImmutableUri(path) : path;
  const int code = sqlite3_open_v2(name.c_str(), &database, flags, nullptr);
  SqliteConnection connection(std::make_unique<Deadline>(lock_deadline), database);
  if (code != SQLITE_OK) {
    return StatusOf(code, database);
  }
  sqlite3_busy_handler(database, WaitForLock, connection.lock_deadline_.get());
  sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_wal_autocheckpoint(database, 0);
  return connection;
}

Status SqliteConnection::Execute(const char* sql) {
  return StatusOf(sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr), database_.get());
}

Status SqliteConnection::BeginRead() {
  CAPSTAN_RETURN_IF_ERROR(Execute("BEGIN"));
  // The cheapest statement that reads page 1; it leaves the schema alone, so that a database made
  // by a newer SQLite can be backed up too.
  Status status = Execute("PRAGMA schema_version");
  if (!status.ok()) {
    (void)EndTransaction();
  }
  return status;
}

Result<std::vector<SqliteRoot>> SqliteConnection::ReadRoots() {
  // What a newer SQLite has put into the schema is no damage: parse what can be parsed.
  CAPSTAN_RETURN_IF_ERROR(Execute("PRAGMA writable_schema = ON"));
  sqlite3_stmt* statement = nullptr;
  int result = sqlite3_prepare_v2(database_.get(),
                                  "SELECT rootpage, type = 'index', sql LIKE '%without%rowid%' "
                                  "FROM sqlite_schema WHERE rootpage > 0",
                                  -1, &statement, nullptr);
  std::vector<SqliteRoot> roots;
  while (result == SQLITE_OK || result == SQLITE_ROW) {
    result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
      const bool index = sqlite3_column_int(statement, 1) != 0;
      const bool perhaps = sqlite3_column_int(statement, 2) != 0;
      roots.push_back({.page = static_cast<std::uint32_t>(sqlite3_column_int64(statement, 0)),
                       .kind = index     ? SqliteRoot::Kind::kIndex
                               : perhaps ? SqliteRoot::Kind::kTableOrIndex
                                         : SqliteRoot::Kind::kTable});
    }
  }
  const std::string text = sqlite3_errmsg(database_.get());
  sqlite3_finalize(statement);
  if (result != SQLITE_DONE) {
    return Error(Code::kDataLoss, "{}", text);
  }
  return roots;
}

Status SqliteConnection::EndTransaction() {
  return in_transaction() || sqlite3_get_autocommit(database_.get()) == 0 ? Execute("ROLLBACK")
                                                                          : OkStatus();
}

bool SqliteConnection::in_transaction() const {
  return sqlite3_txn_state(database_.get(), "main") != SQLITE_TXN_NONE;
}

Status SqliteConnection::LockCheckpoints() {
  sqlite3_file* const file = main_file();
  const int code =
      file->pMethods->xShmLock(file, kWalCheckpointLock, 1, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
  return StatusOf(code, nullptr);
}

void SqliteConnection::UnlockCheckpoints() {
  sqlite3_file* const file = main_file();
  file->pMethods->xShmLock(file, kWalCheckpointLock, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
}

Status SqliteConnection::LockReadMark(int number) {
  sqlite3_file* const file = main_file();
  return StatusOf(
      file->pMethods->xShmLock(file, kWalReadLock + number, 1, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED),
      nullptr);
}

void SqliteConnection::UnlockReadMark(int number) {
  sqlite3_file* const file = main_file();
  file->pMethods->xShmLock(file, kWalReadLock + number, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
}

void SqliteConnection::TidyUpOnClose() {
  sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
}

Status SqliteConnection::OverwriteStart(std::span<const std::byte> bytes) {
  sqlite3_file* const file = main_file();
  const int code = file->pMethods->xWrite(file, bytes.data(), static_cast<int>(bytes.size()), 0);
  return StatusOf(code, nullptr);
}

sqlite3_file* SqliteConnection::main_file() const {
  sqlite3_file* file = nullptr;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
  return file;
}

bool SqliteConnection::has_wal() const {
  // In WAL mode SQLite's "journal file" is the WAL; a connection that only reads has no other.
  sqlite3_file* journal = nullptr;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &journal);
  return journal != nullptr && journal->pMethods != nullptr;
}

std::string SqliteConnection::wal_path() const {
  return sqlite3_filename_wal(sqlite3_db_filename(database_.get(), "main"));
}

std::string SqliteConnection::journal_path() const {
  return sqlite3_filename_journal(sqlite3_db_filename(database_.get(), "main"));
}

bool SqliteConnection::has_moved() const {
  int moved = 0;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  return moved != 0;
}

bool SqliteConnection::has_exclusive_lock() const {
  constexpr int kExclusive = 4;  // SQLITE_LOCK_EXCLUSIVE
  int state = 0;
  sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_LOCKSTATE, &state);
  return state == kExclusive;
}

}  // namespace capstan::writers
