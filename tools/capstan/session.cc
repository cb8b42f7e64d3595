#include "tools/capstan/session.h"

#include <utility>

#include <fmt/format.h>

#include "tools/capstan/json_printer.h"
#include "tools/capstan/statement_reporter.h"
#include "tools/capstan/table_printer.h"
#include "tools/client/message_text.h"

namespace capstan::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds kProgressInterval = 250ms;

Result<Outcome> Execute(Session& session, std::string_view batch, const ExecuteOptions& options,
                        ResponseSink& sink) {
  session.interrupt.OnInterrupt([&client = session.client] { client.Cancel(); });
  return session.client.Execute(batch, options, sink);
}

ExitStatus ExitStatusOf(Console& console, const Result<Outcome>& outcome) {
  if (!outcome.ok()) {
    return ReportFailure(console, outcome.status());
  }
  return *outcome == Outcome::kSucceeded ? ExitStatus::kDone : ExitStatus::kFailed;
}

// Keeps result sets and errors.
class Collector final : public ResponseSink {
 public:
  const std::vector<ServerMessage>& errors() const { return errors_; }

  std::vector<ResultSet> TakeResultSets() { return std::move(result_sets_); }

  void OnMessage(const ServerMessage& message) override {
    if (message.is_error()) {
      errors_.push_back(message);
    }
  }
  void OnResultSet(std::vector<Column> columns) override {
    result_sets_.push_back({std::move(columns), {}});
  }
  void OnRow(Row row) override { result_sets_.back().rows.push_back(std::move(row)); }
  void OnProgress(const Progress& /*progress*/) override {}

 private:
  std::vector<ServerMessage> errors_;
  std::vector<ResultSet> result_sets_;
};

// What a batch of whose answer only result sets and errors are of interest has collected.
QueryResult Collect(Session& session, std::string_view batch, std::size_t result_set_count,
                    Collector& collector) {
  const Result<Outcome> outcome = Execute(session, batch, {}, collector);
  QueryResult result{ExitStatusOf(session.console, outcome), collector.TakeResultSets()};
  if (result.status == ExitStatus::kDone && result.result_sets.size() < result_set_count) {
    result.status = ReportFailure(
        session.console, Error(Code::kInternal, "the server sent {} result sets instead of {}",
                               result.result_sets.size(), result_set_count));
  }
  return result;
}

}  // namespace

ExitStatus ReportFailure(Console& console, const Status& status) {
  if (status.code() == Code::kUnauthenticated) {
    console.Error(FormatMessage(RefusedLogin(status)));
    return ExitStatus::kFailed;
  }
  const bool cancelled = status.code() == Code::kCancelled;
  // Below the ^C that the terminal has shown.
  std::string text = cancelled && console.error_is_terminal() ? "\n" : "";
  text +=
      fmt::format("capstan: {}\n", cancelled ? "the statement was cancelled" : status.message());
  if (!status.hint().empty()) {
    text += fmt::format("HINT: {}\n", status.hint());
  }
  console.Error(text);
  return status.code() == Code::kUnavailable ? ExitStatus::kUnreachable : ExitStatus::kFailed;
}

ExitStatus RunStatement(Session& session, std::string_view batch, const StatementOptions& options) {
  StatementReporter reporter(session.console, options.format);
  const Result<Outcome> outcome =
      Execute(session, batch,
              {.progress_interval = options.with_progress ? kProgressInterval : 0ms}, reporter);
  reporter.Finish();
  if (options.errors != nullptr) {
    *options.errors = reporter.errors();
  }
  return ExitStatusOf(session.console, outcome);
}

QueryResult Query(Session& session, std::string_view batch, std::size_t result_set_count) {
  Collector collector;
  QueryResult result = Collect(session, batch, result_set_count, collector);
  for (const ServerMessage& error : collector.errors()) {
    session.console.Error(FormatMessage(error));
  }
  return result;
}

QueryResult TryQuery(Session& session, std::string_view batch, std::string& error) {
  Collector collector;
  QueryResult result = Collect(session, batch, 1, collector);
  error = collector.errors().empty() ? "" : collector.errors().front().text;
  return result;
}

void PrintResultSet(Console& console, const ResultSet& result_set, OutputFormat format) {
  console.Out(format == OutputFormat::kJson ? FormatJson(result_set) : FormatTable(result_set));
}

}  // namespace capstan::cli
