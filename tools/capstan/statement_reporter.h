// Prints what a batch produces, as it comes: messages and tables as sqlcmd does, progress as a live
// block on a terminal.
//
// Informational messages and result sets go to standard output, errors to standard error. With
// JSON, standard output holds result sets and nothing else. Threads: one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/capstan/console.h"
#include "tools/capstan/session.h"
#include "tools/client/response.h"

namespace capstan::cli {

class StatementReporter final : public ResponseSink {
 public:
  StatementReporter(Console& console, OutputFormat format);

  void OnMessage(const ServerMessage& message) override;
  void OnResultSet(std::vector<Column> columns) override;
  void OnRow(Row row) override;
  void OnProgress(const Progress& progress) override;

  const std::vector<ServerMessage>& errors() const { return errors_; }

  // Prints what is still held back. Call once, when the batch has ended, however it ended.
  void Finish();

 private:
  void PrintPendingResultSet();
  void PrintInformation(const std::string& text);

  Console& console_;
  const OutputFormat format_;
  std::optional<ResultSet> pending_;  // column widths are known only at the end
  std::optional<Progress> last_progress_;
  std::vector<ServerMessage> errors_;
};

}  // namespace capstan::cli
