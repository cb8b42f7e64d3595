// PostgresConnection: libpq behind Status. Every statement has a deadline, after which it is
// cancelled; no message ever holds a password.
//
// A location is what follows "postgresql:": a conninfo ("host=/run/postgresql port=5432 user=x"),
// or the rest of a URI ("//user@host:5432/"). Several hosts may be named, then the role that is
// wanted picks one. Without a database it is `postgres`, without a user under root, `postgres` too.
// Where that is refused, root tries again as the system's user of that name, so that `peer` lets it
// in. Threads: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vdi/base/clock.h"
#include "vdi/base/status.h"

struct pg_conn;
struct pg_result;

namespace capstan::writers {

// Which server of those that a location names.
enum class ServerWanted { kAny, kPrimary, kStandby, kPreferStandby };

// The rows of one statement; every value as text.
class PostgresRows {
 public:
  explicit PostgresRows(pg_result* result);

  int size() const;
  // REQUIRES: row < size(), and the statement has this column. NULL is empty.
  std::string Text(int row, int column) const;
  bool IsTrue(int row, int column) const { return Text(row, column) == "t"; }
  // 0 for what is no number.
  std::uint64_t Number(int row, int column) const;

 private:
  struct Clear {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

class PostgresConnection {
 public:
  struct Options {
    std::string location;
    ServerWanted wanted = ServerWanted::kAny;
    std::string database;  // another one than the location's
  };
  // kUnavailable if no server answers, or none with the role that is wanted.
  static Result<PostgresConnection> Connect(const Options& options);

  // `parameters` are $1, $2 and so on. kDeadlineExceeded, kPermissionDenied, kFailedPrecondition
  // (55xxx: not in this state), kUnavailable (the connection is gone), else kUnknown.
  Result<PostgresRows> Query(const std::string& statement,
                             const std::vector<std::string>& parameters, Deadline deadline);
  Result<PostgresRows> Query(const std::string& statement) {
    return Query(statement, {}, Deadline::After(kStatementWait));
  }

  // As libpq counts: 150010.
  int server_version() const;
  // The server is on this host for certain: reached by a Unix socket.
  bool by_socket() const;

 private:
  static constexpr std::chrono::seconds kStatementWait{60};

  struct Finish {
    void operator()(pg_conn* connection) const;
  };
  explicit PostgresConnection(pg_conn* connection) : connection_(connection) {}

  Status WaitForResult(Deadline deadline);
  // Reads what is left of the statement. What was wrong with it, if anything.
  Result<PostgresRows> TakeResult();
  void CancelStatement();

  std::unique_ptr<pg_conn, Finish> connection_;
};

// The location as it may be shown: with no password in it.
std::string DisplayLocation(const std::string& location);

}  // namespace capstan::writers
