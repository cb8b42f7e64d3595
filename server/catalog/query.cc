#include "server/catalog/query.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>

#include "server/catalog/column_types.h"
#include "server/catalog/query_error.h"
#include "server/catalog/schema.h"
#include "server/catalog/sqlite_connection.h"
#include "server/messages/messages.h"
#include "vdi/base/clock.h"

namespace capstan::catalog {
namespace {

constexpr int kValueBytesMax = 16 << 20;
constexpr int kStepsBetweenClockReads = 10'000;
constexpr std::size_t kCellOverheadBytes = sizeof(std::optional<std::string>);

std::string Quoted(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    quoted.append(c == '"' ? 2 : 1, c);
  }
  return quoted + '"';
}

std::string TranslatedName(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

// What the query may touch. SQLite asks while it prepares the statement.
class Gate {
 public:
  static int Authorize(void* self, int action, const char* first, const char* second,
                       const char* database, const char* view) {
    return static_cast<Gate*>(self)->Decide(action, Text(first), Text(second), Text(database),
                                            Text(view))
               ? SQLITE_OK
               : SQLITE_DENY;
  }

  // The table that was refused, if that is why the statement was.
  const std::optional<std::string>& refused_table() const { return refused_table_; }

 private:
  static std::string_view Text(const char* text) { return text != nullptr ? text : ""; }
  static bool Begins(std::string_view name, std::string_view prefix) {
    return name.size() >= prefix.size() &&
           sqlite3_strnicmp(name.data(), prefix.data(), static_cast<int>(prefix.size())) == 0;
  }

  bool Decide(int action, std::string_view first, std::string_view second,
              std::string_view database, std::string_view view) {
    switch (action) {
      case SQLITE_SELECT:
      case SQLITE_RECURSIVE:
        return true;
      case SQLITE_FUNCTION:
        return second != "load_extension";
      case SQLITE_READ:
        if (MayRead(first, second, database, view)) {
          return true;
        }
        refused_table_ = first;
        return false;
      default:
        return false;
    }
  }

  static bool MayRead(std::string_view table, std::string_view column, std::string_view database,
                      std::string_view view) {
    if (Begins(table, "sqlite_")) {
      return false;
    }
    if (column.empty() && database.empty()) {
      // A table of which no column is used; it may be one that the statement itself defines.
      return !Begins(table, kInternalPrefix);
    }
    return database == "temp" || Begins(table, kPublicPrefix) || Begins(view, kPublicPrefix);
  }

  std::optional<std::string> refused_table_;
};

Status CreateLiveTable(Connection& connection, const LiveTable& live) {
  const std::string name = Quoted(TranslatedName(live.name));
  std::string columns;
  std::string parameters;
  for (const Column& column : live.content.columns) {
    const char* separator = columns.empty() ? "" : ", ";
    columns += fmt::format("{}{} {}", separator, Quoted(column.name), DeclarationOf(column.type));
    parameters += fmt::format("{}?", separator);
  }
  CAPSTAN_RETURN_IF_ERROR(connection.Run(fmt::format("CREATE TEMP TABLE {} ({})", name, columns)));
  CAPSTAN_ASSIGN_OR_RETURN(
      Statement insert,
      connection.Prepare(fmt::format("INSERT INTO temp.{} VALUES ({})", name, parameters)));
  for (const auto& row : live.content.rows) {
    if (row.size() != live.content.columns.size()) {
      return Error(Code::kInternal, "a row of live table '{}' has {} values for {} columns",
                   live.name, row.size(), live.content.columns.size());
    }
    // Columns are bound one by one: their number is known only here.
    for (std::size_t i = 0; i < row.size(); ++i) {
      insert.BindAt(static_cast<int>(i) + 1, row[i]);
    }
    CAPSTAN_RETURN_IF_ERROR(insert.Step().status());
    insert.Reset();
  }
  return OkStatus();
}

Result<Statement> PrepareSelect(Connection& connection, const std::string& select,
                                const Gate& gate) {
  sqlite3_stmt* handle = nullptr;
  const char* rest = nullptr;
  const int result = sqlite3_prepare_v2(connection.handle(), select.c_str(),
                                        static_cast<int>(select.size()) + 1, &handle, &rest);
  Statement statement = Statement::Adopt(handle, connection.path());
  if ((result & 0xFF) == SQLITE_AUTH) {
    return gate.refused_table() ? SqlError(208, RequesterTableName(*gate.refused_table()))
                                : Error(Code::kPermissionDenied, "only SELECT is possible here: {}",
                                        sqlite3_errmsg(connection.handle()));
  }
  if ((result & 0xFF) == SQLITE_ERROR) {
    return PrepareError(sqlite3_errmsg(connection.handle()));
  }
  if (result != SQLITE_OK) {
    return SqliteError(connection.handle(), result, connection.path());
  }
  if (handle == nullptr || sqlite3_column_count(handle) == 0) {
    return Error(Code::kInvalidArgument, "the query has no SELECT");
  }
  if (std::string_view(rest).find_first_not_of(" \t\r\n;") != std::string_view::npos) {
    return Error(Code::kInvalidArgument, "the query has more than one statement");
  }
  return statement;
}

std::string BinaryText(sqlite3_stmt* row, int column) {
  const auto* bytes = static_cast<const unsigned char*>(sqlite3_column_blob(row, column));
  const int size = sqlite3_column_bytes(row, column);
  std::string text = "0x";
  for (int i = 0; i < size; ++i) {
    text += fmt::format("{:02X}", bytes[i]);
  }
  return text;
}

std::optional<std::string> CellText(const Statement& row, int column) {
  switch (sqlite3_column_type(row.handle(), column)) {
    case SQLITE_NULL:
      return std::nullopt;
    case SQLITE_FLOAT:
      // 15 digits are what a double holds for sure: 0.1 + 0.2 prints as 0.3, 5.0 as 5.
      return fmt::format("{:.15g}", sqlite3_column_double(row.handle(), column));
    case SQLITE_BLOB:
      return BinaryText(row.handle(), column);
    default:
      return row.Text(column);
  }
}

Status TooLargeError(const QueryLimits& limits) {
  return SqlError(701).WithHint(fmt::format(
      "the result exceeds {} MiB: ask for fewer rows or columns", limits.result_bytes >> 20));
}

Status RunError(Status status, const QueryLimits& limits) {
  if (status.code() != Code::kDeadlineExceeded) {
    return status;
  }
  return Error(Code::kDeadlineExceeded, "the query ran longer than {} s and was ended",
               std::chrono::duration<double>(limits.time).count())
      .WithHint("ask for fewer rows, or join on indexed columns such as backup_set_id");
}

Result<Table> Fetch(Statement& statement, const QueryLimits& limits) {
  const int column_count = sqlite3_column_count(statement.handle());
  Table table;
  std::vector<TypeGuess> guesses(static_cast<std::size_t>(column_count));
  std::size_t bytes = 0;
  for (;;) {
    auto row = statement.Step();
    if (!row.ok()) {
      return RunError(std::move(row).status(), limits);
    }
    if (!*row) {
      break;
    }
    auto& cells = table.rows.emplace_back();
    cells.reserve(static_cast<std::size_t>(column_count));
    for (int i = 0; i < column_count; ++i) {
      guesses[static_cast<std::size_t>(i)].Add(statement.handle(), i);
      cells.push_back(CellText(statement, i));
      bytes += kCellOverheadBytes + (cells.back() ? cells.back()->size() : 0);
    }
    if (bytes > limits.result_bytes) {
      return TooLargeError(limits);
    }
  }
  for (int i = 0; i < column_count; ++i) {
    const char* name = sqlite3_column_name(statement.handle(), i);
    std::string type = TypeOfDeclaration(sqlite3_column_decltype(statement.handle(), i));
    table.columns.push_back(
        Column{.name = name != nullptr ? name : "",
               .type = type.empty() ? guesses[static_cast<std::size_t>(i)].type() : type});
  }
  return table;
}

}  // namespace

Result<Table> RunQuery(const std::string& path, const std::string& select,
                       const std::vector<LiveTable>& live, const QueryLimits& limits) {
  CAPSTAN_ASSIGN_OR_RETURN(Connection connection,
                           Connection::Open(path, Connection::Mode::kReadOnly));
  CAPSTAN_RETURN_IF_ERROR(connection.Execute("BEGIN"));  // live tables are written in one go
  for (const LiveTable& table : live) {
    CAPSTAN_RETURN_IF_ERROR(CreateLiveTable(connection, table));
  }
  sqlite3_limit(connection.handle(), SQLITE_LIMIT_LENGTH, kValueBytesMax);
  sqlite3_limit(connection.handle(), SQLITE_LIMIT_ATTACHED, 0);
  Gate gate;
  sqlite3_set_authorizer(connection.handle(), &Gate::Authorize, &gate);
  const Deadline deadline = Deadline::After(limits.time);
  sqlite3_progress_handler(
      connection.handle(), kStepsBetweenClockReads,
      [](void* context) { return static_cast<const Deadline*>(context)->passed() ? 1 : 0; },
      const_cast<Deadline*>(&deadline));
  CAPSTAN_ASSIGN_OR_RETURN(Statement statement, PrepareSelect(connection, select, gate));
  return Fetch(statement, limits);
}

}  // namespace capstan::catalog
