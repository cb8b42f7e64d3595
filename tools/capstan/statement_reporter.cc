#include "tools/capstan/statement_reporter.h"

#include <string_view>
#include <utility>

#include "tools/capstan/progress_view.h"
#include "tools/client/message_text.h"

namespace capstan::cli {
namespace {

constexpr int kPercentProcessed = 3211;  // "10 percent processed."

}  // namespace

StatementReporter::StatementReporter(Console& console, OutputFormat format)
    : console_(console), format_(format) {}

void StatementReporter::OnMessage(const ServerMessage& message) {
  PrintPendingResultSet();
  if (message.is_error()) {
    errors_.push_back(message);
    console_.Error(FormatMessage(message));
    return;
  }
  // The live block shows the same, better.
  const bool redundant = message.number == kPercentProcessed && last_progress_.has_value() &&
                         console_.error_is_terminal() && console_.out_is_terminal();
  if (!redundant) {
    PrintInformation(FormatMessage(message));
  }
}

void StatementReporter::OnResultSet(std::vector<Column> columns) {
  PrintPendingResultSet();
  pending_ = ResultSet{std::move(columns), {}};
}

void StatementReporter::OnRow(Row row) {
  pending_->rows.push_back(std::move(row));
}

void StatementReporter::OnProgress(const Progress& progress) {
  last_progress_ = progress;
  if (console_.error_is_terminal()) {
    console_.DrawLive(RenderProgress(progress, console_.size()));
  }
}

void StatementReporter::Finish() {
  PrintPendingResultSet();
  if (!last_progress_.has_value()) {
    return;
  }
  if (console_.error_is_terminal()) {
    console_.KeepLive();
    return;
  }
  for (const std::string& line : RenderSummary(*last_progress_)) {
    PrintInformation(line + '\n');
  }
}

void StatementReporter::PrintPendingResultSet() {
  if (!pending_.has_value()) {
    return;
  }
  PrintResultSet(console_, *pending_, format_);
  if (format_ == OutputFormat::kTable) {
    console_.Out(FormatRowCount(pending_->rows.size()));
  }
  pending_.reset();
}

void StatementReporter::PrintInformation(const std::string& text) {
  if (format_ == OutputFormat::kJson) {
    console_.Error(text);
  } else {
    console_.Out(text);
  }
}

}  // namespace capstan::cli
