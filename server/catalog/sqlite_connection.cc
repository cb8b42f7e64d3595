#include "server/catalog/sqlite_connection.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <tuple>
#include <utility>

#include <sqlite3.h>

#include "vdi/base/check.h"

namespace capstan::catalog {
namespace {

constexpr int kBusyTimeoutMs = 5000;

Code CodeOf(int result, int os_error) {
  switch (result & 0xFF) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return Code::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Code::kDataLoss;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Code::kUnavailable;
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return Code::kPermissionDenied;
    case SQLITE_CONSTRAINT:
      return result == SQLITE_CONSTRAINT_UNIQUE || result == SQLITE_CONSTRAINT_PRIMARYKEY
                 ? Code::kAlreadyExists
                 : Code::kInternal;
    case SQLITE_INTERRUPT:
      return Code::kDeadlineExceeded;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      return os_error != 0 ? OsError(os_error, "").code() : Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

std::string HintFor(int result, Code code) {
  if (code == Code::kResourceExhausted) {
    return "free space on the file system that holds the catalog, then run the statement again";
  }
  if (code == Code::kPermissionDenied) {
    return "check owner and mode of the catalog and of its directory";
  }
  switch (result & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "close other programs that have the catalog open, then run the statement again";
    case SQLITE_IOERR:
      return "look into the kernel's log for errors of the disk that holds the catalog";
    default:
      return "";
  }
}

// The errno behind an I/O error. SQLite does not pass on that of a failed COMMIT, but the file that
// failed remembers it: usually the write-ahead log.
int OsErrorOf(sqlite3* handle) {
  int os_error = sqlite3_system_errno(handle);
  for (const int which : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
    sqlite3_file* file = nullptr;
    if (os_error == 0 && sqlite3_file_control(handle, "main", which, &file) == SQLITE_OK &&
        file != nullptr && file->pMethods != nullptr) {
      file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &os_error);
    }
  }
  return os_error;
}

std::string_view WithoutLeadingZeros(std::string_view digits) {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

bool IsDecimal(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Numbers by value, before everything else by bytes.
int CompareDecimal(void*, int left_size, const void* left_data, int right_size,
                   const void* right_data) {
  std::string_view left(static_cast<const char*>(left_data), static_cast<std::size_t>(left_size));
  std::string_view right(static_cast<const char*>(right_data),
                         static_cast<std::size_t>(right_size));
  if (const bool decimal = IsDecimal(left); decimal != IsDecimal(right)) {
    return decimal ? -1 : 1;
  } else if (decimal) {
    left = WithoutLeadingZeros(left);
    right = WithoutLeadingZeros(right);
    if (left.size() != right.size()) {
      return left.size() < right.size() ? -1 : 1;
    }
  }
  return left.compare(right);
}

// What every connection of ours needs, whatever it is for.
int Configure(sqlite3* handle) {
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  // A name in double quotes is a name, never silently a string; a damaged or hostile file cannot
  // run functions through its schema.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  return sqlite3_create_collation(handle, kDecimalCollation, SQLITE_UTF8, nullptr, CompareDecimal);
}

}  // namespace

Status DamagedError(std::string_view path, std::string_view cause) {
  return Error(Code::kDataLoss, "the catalog '{}' is damaged: {}", path, cause)
      .WithHint(
          fmt::format("stop capstand and put a copy of '{0}' back, or move '{0}', '{0}-wal' and "
                      "'{0}-shm' away and start with an empty catalog; media are not affected and "
                      "can be restored from, databases have to be attached again",
                      path));
}

RelaxedSync::RelaxedSync(Connection& connection) : connection_(connection) {
  // Should this fail, commits are waited for as usual.
  std::ignore = connection_.Execute("PRAGMA synchronous = NORMAL");
}

RelaxedSync::~RelaxedSync() {
  const Status status = connection_.Execute("PRAGMA synchronous = FULL");
  CAPSTAN_CHECK(status.ok());  // a pragma of the connection alone: without it commits may be lost
}

Status SqliteError(sqlite3* handle, int result, std::string_view path) {
  const int primary = result & 0xFF;
  // Copied before anything else asks the connection something.
  const std::string text = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(result);
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) {
    return DamagedError(path, text);
  }
  const bool from_os = primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN;
  const int os_error = from_os && handle != nullptr ? OsErrorOf(handle) : 0;
  const Code code = CodeOf(result, os_error);
  const std::string cause =
      os_error != 0 ? fmt::format("{}: {}", text, std::generic_category().message(os_error)) : text;
  return Error(code, "catalog '{}': {}", path, cause)
      .WithOsError(os_error)
      .WithHint(HintFor(result, code));
}

void Statement::Finalizer::operator()(sqlite3_stmt* handle) const {
  sqlite3_finalize(handle);
}

Result<bool> Statement::Step() {
  const int result = bind_result_ != SQLITE_OK ? bind_result_ : sqlite3_step(handle_.get());
  if (result == SQLITE_ROW || result == SQLITE_DONE) {
    return result == SQLITE_ROW;
  }
  return SqliteError(sqlite3_db_handle(handle_.get()), result, path_);
}

void Statement::Reset() {
  sqlite3_reset(handle_.get());  // repeats the error of the last Step, which has been reported
  bind_result_ = SQLITE_OK;
}

std::int64_t Statement::Integer(int column) const {
  return sqlite3_column_int64(handle_.get(), column);
}

std::string Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(handle_.get(), column));
  const int size = sqlite3_column_bytes(handle_.get(), column);
  return text == nullptr ? std::string() : std::string(text, static_cast<std::size_t>(size));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
}

void Statement::BindValue(int index, const std::optional<std::int64_t>& value) {
  if (value) {
    BindInteger(index, *value);
  } else {
    BindNull(index);
  }
}

void Statement::BindInteger(int index, std::int64_t value) {
  bind_result_ = std::max(bind_result_, sqlite3_bind_int64(handle_.get(), index, value));
}

void Statement::BindText(int index, std::string_view value) {
  // Null would bind NULL, not the empty text.
  const char* data = value.data() != nullptr ? value.data() : "";
  bind_result_ = std::max(
      bind_result_,
      sqlite3_bind_text64(handle_.get(), index, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Statement::BindNull(int index) {
  bind_result_ = std::max(bind_result_, sqlite3_bind_null(handle_.get(), index));
}

void Connection::Closer::operator()(sqlite3* handle) const {
  sqlite3_close_v2(handle);
}

Result<Connection> Connection::Open(const std::string& path, Mode mode) {
  // SQLite would read "file:..." as a URI and ":memory:" as no file at all.
  const std::string name = path.starts_with('/') ? path : "./" + path;
  const int flags = mode == Mode::kReadWrite ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
  sqlite3* handle = nullptr;
  int result = sqlite3_open_v2(name.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  Connection connection(handle, path);
  if (result == SQLITE_OK) {
    result = Configure(handle);
  }
  if (result != SQLITE_OK) {
    return SqliteError(handle, result, path);
  }
  return connection;
}

Status Connection::Execute(const char* sql) {
  const int result = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? OkStatus() : SqliteError(handle_.get(), result, path_);
}

Result<Statement> Connection::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int result = sqlite3_prepare_v2(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                        &statement, nullptr);
  if (result != SQLITE_OK) {
    return SqliteError(handle_.get(), result, path_);
  }
  return Statement::Adopt(statement, path_);
}

Status Connection::Finish(Statement& statement) {
  bool row = true;
  while (row) {
    CAPSTAN_ASSIGN_OR_RETURN(row, statement.Step());
  }
  return OkStatus();
}

Result<std::int64_t> Connection::QueryInteger(std::string_view sql) {
  CAPSTAN_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  CAPSTAN_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) {
    return Error(Code::kNotFound, "catalog '{}': no row for '{}'", path_, sql);
  }
  return statement.Integer(0);
}

std::int64_t Connection::last_insert_id() const {
  return sqlite3_last_insert_rowid(handle_.get());
}

std::int64_t Connection::changes() const {
  return sqlite3_changes64(handle_.get());
}

Result<Transaction> Transaction::Begin(Connection& connection) {
  CAPSTAN_RETURN_IF_ERROR(connection.Execute("BEGIN IMMEDIATE"));
  return Transaction(connection);
}

Transaction::Transaction(Transaction&& other) noexcept
    : connection_(std::exchange(other.connection_, nullptr)) {}

Transaction::~Transaction() {
  // Some failures (a full disk) have rolled back already; a second ROLLBACK would only complain.
  if (connection_ != nullptr && sqlite3_get_autocommit(connection_->handle()) == 0) {
    sqlite3_exec(connection_->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

Status Transaction::Commit() {
  CAPSTAN_RETURN_IF_ERROR(connection_->Execute("COMMIT"));  // on failure the destructor rolls back
  connection_ = nullptr;
  return OkStatus();
}

}  // namespace capstan::catalog
