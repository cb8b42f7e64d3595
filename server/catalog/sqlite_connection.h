// SQLite behind Status: a connection, a statement and a transaction that clean up after themselves.
//
// Errors name the file, carry SQLite's text and the operating system's errno, and say in the hint
// what the operator can do. Threads: a connection and its statements belong to one thread at a
// time. A Statement and a Transaction must not outlive their Connection.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "vdi/base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace capstan::catalog {

class Statement {
 public:
  // Takes over a statement of the connection to `path`; null is allowed and cannot be stepped.
  static Statement Adopt(sqlite3_stmt* handle, const std::string& path) {
    return Statement(handle, path);
  }

  // Binds parameters ?1, ?2, ... to integers, text, or optionals of text and 64-bit integers
  // (nullopt = NULL). Text is copied. A failed binding is reported by the next Step.
  template <typename... Args>
  void Bind(const Args&... args) {
    int index = 0;
    (BindValue(++index, args), ...);
  }

  // The same for one parameter, counted from 1.
  void BindAt(int index, const std::optional<std::string>& value) { BindValue(index, value); }

  // True if there is a row, false at the end.
  Result<bool> Step();
  // Makes the statement ready for new values.
  void Reset();

  // The columns of the current row, from 0. NULL reads as 0 and "".
  std::int64_t Integer(int column) const;
  std::string Text(int column) const;
  bool IsNull(int column) const;

  sqlite3_stmt* handle() const { return handle_.get(); }

 private:
  struct Finalizer {
    void operator()(sqlite3_stmt* handle) const;
  };
  Statement(sqlite3_stmt* handle, const std::string& path) : handle_(handle), path_(path) {}

  template <std::integral T>
  void BindValue(int index, T value) {
    BindInteger(index, static_cast<std::int64_t>(value));
  }
  void BindValue(int index, std::string_view value) { BindText(index, value); }
  template <std::convertible_to<std::string_view> T>
  void BindValue(int index, const std::optional<T>& value) {
    if (value) {
      BindText(index, *value);
    } else {
      BindNull(index);
    }
  }
  void BindValue(int index, const std::optional<std::int64_t>& value);
  void BindInteger(int index, std::int64_t value);
  void BindText(int index, std::string_view value);
  void BindNull(int index);

  std::unique_ptr<sqlite3_stmt, Finalizer> handle_;
  std::string path_;
  int bind_result_ = 0;
};

class Connection {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  // Opens an existing file (an empty one becomes a database with the first write).
  static Result<Connection> Open(const std::string& path, Mode mode);

  // Runs one or several statements without parameters, dropping their rows.
  Status Execute(const char* sql);
  Result<Statement> Prepare(std::string_view sql);
  // Prepares, binds and runs one statement to its end.
  template <typename... Args>
  Status Run(std::string_view sql, const Args&... args) {
    auto statement = Prepare(sql);
    if (!statement.ok()) {
      return std::move(statement).status();
    }
    statement->Bind(args...);
    return Finish(*statement);
  }
  // The first column of the first row of a statement without parameters.
  Result<std::int64_t> QueryInteger(std::string_view sql);

  std::int64_t last_insert_id() const;
  // Rows that the last INSERT, UPDATE or DELETE changed.
  std::int64_t changes() const;
  sqlite3* handle() const { return handle_.get(); }
  const std::string& path() const { return path_; }

 private:
  struct Closer {
    void operator()(sqlite3* handle) const;
  };
  Connection(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  static Status Finish(Statement& statement);

  std::unique_ptr<sqlite3, Closer> handle_;
  std::string path_;
};

// BEGIN IMMEDIATE ... COMMIT; whatever is not committed is rolled back.
class Transaction {
 public:
  static Result<Transaction> Begin(Connection& connection);
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  // Durable when it returns OK. After a failure nothing of the transaction remains.
  Status Commit();

 private:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  Connection* connection_;  // null once it is over or moved from
};

// While it lives, commits reach the file system but are not waited for: they survive the process,
// and what follows them takes them along to the disk. REQUIRES: no transaction is open.
class RelaxedSync {
 public:
  explicit RelaxedSync(Connection& connection);
  RelaxedSync(const RelaxedSync&) = delete;
  RelaxedSync& operator=(const RelaxedSync&) = delete;
  ~RelaxedSync();

 private:
  Connection& connection_;
};

// The last failure of `handle` as a Status. `result` is what the failed call returned.
Status SqliteError(sqlite3* handle, int result, std::string_view path);

// The error for a file whose contents are not a sound catalog.
Status DamagedError(std::string_view path, std::string_view cause);

// How numeric(25,0) is kept: as decimal text in a TEXT column with this collation, exact over the
// whole range and compared as a number. Every connection knows it.
inline constexpr const char* kDecimalCollation = "capstan_decimal";

}  // namespace capstan::catalog
