#include "server/writers/postgres/postgres_connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/writers/postgres/cluster_location.h"
#include "vdi/base/check.h"

namespace capstan::writers {
namespace {

constexpr const char* kConnectTimeoutSeconds = "10";  // per host

using ConninfoOptions = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;

// As libpq takes it.
std::string ConninfoText(const std::string& location) {
  return location.starts_with("//") ? "postgresql:" + location : location;
}

// What libpq says of a location that it cannot read may quote a password, so it is not told.
ConninfoOptions ParseLocation(const std::string& location) {
  char* error = nullptr;
  ConninfoOptions options(PQconninfoParse(ConninfoText(location).c_str(), &error), &PQconninfoFree);
  PQfreemem(error);
  return options;
}

const char* ValueOf(const ConninfoOptions& options, std::string_view keyword) {
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->keyword == keyword) {
      return option->val;
    }
  }
  return nullptr;
}

const char* TargetSessionAttributes(ServerWanted wanted) {
  switch (wanted) {
    case ServerWanted::kPrimary:
      return "primary";
    case ServerWanted::kStandby:
      return "standby";
    case ServerWanted::kPreferStandby:
      return "prefer-standby";
    case ServerWanted::kAny:
      break;
  }
  return "any";
}

// libpq ends its messages with a line break, and has one between hosts.
std::string Clause(const char* message) {
  std::string text(message == nullptr ? "" : message);
  std::erase(text, '\t');
  while (!text.empty() && text.back() == '\n') {
    text.pop_back();
  }
  std::ranges::replace(text, '\n', ' ');
  return text;
}

// While it lives this thread of root's is the system's user `name`, of whom `peer` in pg_hba.conf
// makes sure, as Debian's does for "postgres". The system call is that of one thread: the C
// library's function would change all of them.
class ActingAs {
 public:
  explicit ActingAs(const char* name) {
    const passwd* const user =
        name == nullptr || ::geteuid() != 0 ? nullptr : UserNamed(name, &buffer_, &entry_);
    acting_ = user != nullptr && user->pw_uid != 0 && Become(user->pw_uid);
  }
  ~ActingAs() {
    if (acting_) {
      CAPSTAN_CHECK(Become(0));
    }
  }
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

  bool acting() const { return acting_; }

 private:
  static const passwd* UserNamed(const char* name, std::array<char, 4096>* buffer, passwd* entry) {
    passwd* found = nullptr;
    return ::getpwnam_r(name, entry, buffer->data(), buffer->size(), &found) == 0 ? found : nullptr;
  }
  static bool Become(uid_t user) {
    constexpr uid_t kAsItIs = static_cast<uid_t>(-1);
    return ::syscall(SYS_setresuid, kAsItIs, user, kAsItIs) == 0;
  }

  std::array<char, 4096> buffer_{};
  passwd entry_{};
  bool acting_ = false;
};

Status ConnectError(const pg_conn* connection) {
  const std::string cause = Clause(PQerrorMessage(connection));
  Status status = Error(Code::kUnavailable, "no connection to PostgreSQL: {}", cause);
  if (cause.find("authentication failed") != std::string::npos ||
      cause.find("no password supplied") != std::string::npos) {
    return std::move(status).WithHint(
        "let the user that capstand runs as in by peer (pg_ident.conf), or keep the password in "
        "its "
        "~/.pgpass");
  }
  // What libpq says of a server that has the other role than target_session_attrs asks for.
  constexpr std::string_view kHint =
      "name all servers of the cluster in its location: host=a,b port=5432,5432";
  if (cause.find("server is in hot standby mode") != std::string::npos) {
    return Error(Code::kFailedPrecondition,
                 "there is a standby only, and this backup is made of the primary: a differential "
                 "backup is measured by its pages, and a full one is what later ones are measured "
                 "from")
        .WithHint(std::string(kHint) + "; a full backup WITH COPY_ONLY can be made of a standby");
  }
  if (cause.find("server is not in hot standby mode") != std::string::npos) {
    return Error(Code::kFailedPrecondition,
                 "there is no standby, and backups are preferred to run on secondaries only")
        .WithHint(std::string(kHint) + "; or change the backup preference");
  }
  return status;
}

Code CodeOf(std::string_view sqlstate) {
  if (sqlstate == "57014") {
    return Code::kDeadlineExceeded;
  }
  if (sqlstate == "42501" || sqlstate.starts_with("28")) {
    return Code::kPermissionDenied;
  }
  if (sqlstate.starts_with("55") || sqlstate.starts_with("25")) {
    return Code::kFailedPrecondition;
  }
  if (sqlstate.starts_with("53")) {
    return Code::kResourceExhausted;
  }
  if (sqlstate.starts_with("08") || sqlstate.starts_with("57P")) {
    return Code::kUnavailable;
  }
  return Code::kUnknown;
}

Status ResultError(const pg_result* result, const pg_conn* connection) {
  const char* const sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const char* const message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  if (PQstatus(connection) != CONNECTION_OK || message == nullptr) {
    return Error(Code::kUnavailable, "the connection to PostgreSQL ended: {}",
                 Clause(PQerrorMessage(connection)));
  }
  Status status =
      Error(CodeOf(sqlstate == nullptr ? "" : sqlstate), "PostgreSQL says: {}", Clause(message));
  if (const char* const hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT)) {
    return std::move(status).WithHint(Clause(hint));
  }
  return status;
}

}  // namespace

PostgresRows::PostgresRows(pg_result* result) : result_(result) {}

void PostgresRows::Clear::operator()(pg_result* result) const {
  PQclear(result);
}

int PostgresRows::size() const {
  return PQntuples(result_.get());
}

std::string PostgresRows::Text(int row, int column) const {
  return PQgetvalue(result_.get(), row, column);
}

std::uint64_t PostgresRows::Number(int row, int column) const {
  const std::string text = Text(row, column);
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

void PostgresConnection::Finish::operator()(pg_conn* connection) const {
  PQfinish(connection);
}

Result<PostgresConnection> PostgresConnection::Connect(const Options& options) {
  if (IsDataDirectoryLocation(options.location)) {
    Options server = options;
    CAPSTAN_ASSIGN_OR_RETURN(server.location, ConninfoOfDataDirectory(options.location));
    return Connect(server);
  }
  const std::string conninfo = ConninfoText(options.location);
  const ConninfoOptions given = ParseLocation(options.location);
  if (given == nullptr) {
    return Error(Code::kInvalidArgument, "the location is no connection string of PostgreSQL")
        .WithHint("postgresql:host=/run/postgresql port=5432, or postgresql://host:5432/");
  }
  std::vector<const char*> keywords = {"dbname", "application_name", "target_session_attrs"};
  std::vector<const char*> values = {conninfo.c_str(), "capstan",
                                     TargetSessionAttributes(options.wanted)};
  const auto put = [&](const char* keyword, const char* value) {
    keywords.push_back(keyword);
    values.push_back(value);
  };
  if (ValueOf(given, "connect_timeout") == nullptr) {
    put("connect_timeout", kConnectTimeoutSeconds);
  }
  if (ValueOf(given, "user") == nullptr && ::geteuid() == 0) {
    put("user", "postgres");
  }
  // A later dbname is a name, not a conninfo, and goes over the one in it.
  if (!options.database.empty()) {
    put("dbname", options.database.c_str());
  } else if (ValueOf(given, "dbname") == nullptr) {
    put("dbname", "postgres");
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  const auto connect = [&] {
    return PostgresConnection(
        PQconnectdbParams(keywords.data(), values.data(), /*expand_dbname=*/1));
  };
  PostgresConnection connection = connect();
  if (PQstatus(connection.connection_.get()) != CONNECTION_OK) {
    Status refused = ConnectError(connection.connection_.get());
    const ActingAs user(PQuser(connection.connection_.get()));
    if (!user.acting()) {
      return refused;
    }
    connection = connect();
    if (PQstatus(connection.connection_.get()) != CONNECTION_OK) {
      return refused;
    }
  }
  PQsetNoticeProcessor(
      connection.connection_.get(), [](void*, const char*) {}, nullptr);
  // A backup holds its session open for hours; names are looked up where nobody can put others.
  CAPSTAN_RETURN_IF_ERROR(
      connection
          .Query("SELECT pg_catalog.set_config('search_path', 'pg_catalog', false), "
                 "pg_catalog.set_config('statement_timeout', '0', false), "
                 "pg_catalog.set_config('idle_session_timeout', '0', false), "
                 "pg_catalog.set_config('lock_timeout', '0', false)")
          .status());
  return connection;
}

Result<PostgresRows> PostgresConnection::Query(const std::string& statement,
                                               const std::vector<std::string>& parameters,
                                               Deadline deadline) {
  std::vector<const char*> values;
  for (const std::string& parameter : parameters) {
    values.push_back(parameter.c_str());
  }
  if (PQsendQueryParams(connection_.get(), statement.c_str(), static_cast<int>(values.size()),
                        nullptr, values.data(), nullptr, nullptr, 0) == 0) {
    return Error(Code::kUnavailable, "the connection to PostgreSQL ended: {}",
                 Clause(PQerrorMessage(connection_.get())));
  }
  if (Status status = WaitForResult(deadline); !status.ok()) {
    CancelStatement();
    return status;
  }
  return TakeResult();
}

Status PostgresConnection::WaitForResult(Deadline deadline) {
  while (true) {
    if (PQconsumeInput(connection_.get()) == 0 || PQisBusy(connection_.get()) == 0) {
      return OkStatus();  // TakeResult finds out what of the two
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.remaining()).count();
    if (left <= 0) {
      return Error(Code::kDeadlineExceeded, "PostgreSQL did not answer in time");
    }
    pollfd socket{.fd = PQsocket(connection_.get()), .events = POLLIN, .revents = 0};
    const auto wait = static_cast<int>(std::min<std::int64_t>(left, 60'000));
    if (::poll(&socket, 1, wait) < 0 && errno != EINTR) {
      return OsError(errno, "poll of a connection to PostgreSQL");
    }
  }
}

Result<PostgresRows> PostgresConnection::TakeResult() {
  pg_result* const first = PQgetResult(connection_.get());
  if (first == nullptr) {
    return Error(Code::kUnavailable, "the connection to PostgreSQL ended: {}",
                 Clause(PQerrorMessage(connection_.get())));
  }
  PostgresRows rows(first);
  const ExecStatusType outcome = PQresultStatus(first);
  Status status = outcome == PGRES_TUPLES_OK || outcome == PGRES_COMMAND_OK
                      ? OkStatus()
                      : ResultError(first, connection_.get());
  while (pg_result* const more = PQgetResult(connection_.get())) {
    PQclear(more);
  }
  if (!status.ok()) {
    return status;
  }
  return rows;
}

// Where even this fails, libpq refuses every later statement as one that comes amid another.
void PostgresConnection::CancelStatement() {
  const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel(PQgetCancel(connection_.get()),
                                                                  &PQfreeCancel);
  std::array<char, 256> error{};
  if (cancel != nullptr &&
      PQcancel(cancel.get(), error.data(), static_cast<int>(error.size())) != 0 &&
      WaitForResult(Deadline::After(std::chrono::seconds(5))).ok()) {
    (void)TakeResult();
  }
}

int PostgresConnection::server_version() const {
  return PQserverVersion(connection_.get());
}

bool PostgresConnection::by_socket() const {
  const char* const host = PQhost(connection_.get());
  return host != nullptr && (host[0] == '/' || host[0] == '@');
}

std::string DisplayLocation(const std::string& location) {
  const ConninfoOptions options = ParseLocation(location);
  if (options == nullptr) {
    return "(not a connection string)";
  }
  std::string text;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) {
      continue;
    }
    const bool secret = std::strchr(option->dispchar, '*') != nullptr;
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", option->keyword,
                        secret ? "***" : option->val);
  }
  return text;
}

}  // namespace capstan::writers
