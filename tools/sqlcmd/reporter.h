// Prints what a batch produces, as it comes and as sqlcmd does: rows in columns, informational
// messages as plain text, errors below "Msg ..., Level ..., State ..., Server ..., Line ...".
//
// Everything goes to the output, errors too, unless -r says otherwise. Threads: one.
#pragma once

#include <cstdio>
#include <optional>
#include <string>

#include "tools/client/response.h"
#include "tools/sqlcmd/options.h"
#include "tools/sqlcmd/result_layout.h"

namespace capstan::sqlcmd {

// Borrowed.
struct Streams {
  std::FILE* out;
  std::FILE* error;
};

// Writes and flushes; what cannot be written is found by ferror in the end.
void Print(std::FILE* stream, std::string_view text);

class Reporter final : public cli::ResponseSink {
 public:
  // `server_name` stands in errors of servers that do not say theirs. Borrows the options.
  Reporter(const Options& options, Streams streams, std::string server_name);

  void OnMessage(const cli::ServerMessage& message) override;
  void OnResultSet(std::vector<cli::Column> columns) override;
  void OnRow(cli::Row row) override;
  void OnProgress(const cli::Progress& /*progress*/) override {}

  // Ends the last result set. Call once, when the batch has ended, however it ended.
  void Finish();

  // Of the worst message so far, printed or not.
  int severity() const { return severity_; }

 private:
  void FinishResultSet();

  const Options& options_;
  const Streams streams_;
  const std::string server_name_;
  std::optional<ResultLayout> layout_;
  int severity_ = 0;
};

}  // namespace capstan::sqlcmd
