// How a command talks: to the server through the client, to the user through the console.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "tools/capstan/console.h"
#include "tools/client/interrupt.h"
#include "tools/client/requester_client.h"
#include "tools/client/response.h"

namespace capstan::cli {

enum class ExitStatus : int {
  kDone = 0,
  kFailed = 1,       // a statement failed or was cancelled
  kUsage = 2,        // the command line is wrong
  kUnreachable = 3,  // no server, or it was lost
};

// Borrows all three.
struct Session {
  RequesterClient& client;
  Console& console;
  Interrupt& interrupt;
};

enum class OutputFormat { kTable, kJson };

// Prints "capstan: message" and the hint on standard error; the exit status that fits the code.
ExitStatus ReportFailure(Console& console, const Status& status);

struct StatementOptions {
  OutputFormat format = OutputFormat::kTable;
  bool with_progress = false;
  std::vector<ServerMessage>* errors = nullptr;  // also receives those that are printed
};

// Runs a batch and prints all that comes, as it comes.
ExitStatus RunStatement(Session& session, std::string_view batch, const StatementOptions& options);

struct QueryResult {
  ExitStatus status = ExitStatus::kDone;
  std::vector<ResultSet> result_sets;  // complete only if kDone
};

// Runs a batch and keeps its result sets; errors are printed, other messages are not. A batch that
// yields fewer than `result_set_count` result sets is a failure.
QueryResult Query(Session& session, std::string_view batch, std::size_t result_set_count = 1);

// As Query, but for an answer that may be an error: `error` receives the first one, and nothing is
// printed. A lost server is printed.
QueryResult TryQuery(Session& session, std::string_view batch, std::string& error);

// A table or JSON, whichever is asked for, on standard output.
void PrintResultSet(Console& console, const ResultSet& result_set, OutputFormat format);

}  // namespace capstan::cli
