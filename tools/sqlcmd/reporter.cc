#include "tools/sqlcmd/reporter.h"

#include <algorithm>
#include <utility>

#include "tools/client/message_text.h"

namespace capstan::sqlcmd {
namespace {

void Write(std::FILE* stream, std::string_view text) {
  (void)std::fwrite(text.data(), 1, text.size(), stream);
}

}  // namespace

void Print(std::FILE* stream, std::string_view text) {
  Write(stream, text);
  (void)std::fflush(stream);
}

Reporter::Reporter(const Options& options, Streams streams, std::string server_name)
    : options_(options), streams_(streams), server_name_(std::move(server_name)) {}

void Reporter::OnMessage(const cli::ServerMessage& message) {
  FinishResultSet();
  severity_ = std::max(severity_, message.severity);
  if (message.is_error() && message.severity < options_.print_severity) {
    return;
  }
  const bool to_error = options_.standard_error == StandardError::kAllMessages ||
                        (options_.standard_error == StandardError::kErrors && message.is_error());
  Print(to_error ? streams_.error : streams_.out,
        cli::FormatMessage(message,
                           message.server_name.empty() ? server_name_ : message.server_name));
}

void Reporter::OnResultSet(std::vector<cli::Column> columns) {
  FinishResultSet();
  layout_.emplace(options_.layout, columns);
  Write(streams_.out, layout_->Header());
}

void Reporter::OnRow(cli::Row row) {
  if (layout_.has_value()) {
    Write(streams_.out, layout_->Line(row));
  }
}

void Reporter::Finish() {
  FinishResultSet();
}

void Reporter::FinishResultSet() {
  if (layout_.has_value()) {
    Print(streams_.out, layout_->Footer());
    layout_.reset();
  }
}

}  // namespace capstan::sqlcmd
