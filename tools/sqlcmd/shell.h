// Runs what the switches name: a query, files, or what comes on standard input, batch by batch.
//
// A batch ends at GO or at the end of its text; a terminal's last one needs its GO. Threads: one;
// the interrupt's thread only cancels the running batch.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "tools/client/interrupt.h"
#include "tools/client/requester_client.h"
#include "tools/client/script.h"
#include "tools/sqlcmd/options.h"
#include "tools/sqlcmd/reporter.h"

namespace capstan::sqlcmd {

class Shell {
 public:
  // Borrows the interrupt.
  Shell(Options options, Streams streams, cli::Interrupt& interrupt);

  // The exit status.
  int Run();

 private:
  // Where lines come from, each with its end; nullopt at the end.
  struct Source {
    std::string name;
    std::function<std::optional<std::string>()> next;
    bool interactive = false;
    int depth = 0;  // of :r
  };

  void RunText(std::string_view text, const std::string& name, int depth = 0);
  void RunFile(const std::string& path, int depth = 0);
  void RunStandardInput();
  void RunLines(Source source);
  void TakeLine(std::string_view line, const Source& source, cli::BatchCollector& collector);
  // True if the line was a command of sqlcmd's.
  bool TakeCommand(std::string_view line, const Source& source, cli::BatchCollector& collector);
  void SetVariable(std::string_view arguments);

  void RunBatch(const cli::Batch& batch);
  void RunOnce(const std::string& batch);
  void Fail(int severity);
  // A failure of the call itself, not of a statement.
  void ReportFailure(const Status& status);
  // A mistake in a script: not even sent.
  void ReportMistake(const std::string& text, const Source& source);

  Options options_;
  const Streams streams_;
  cli::Interrupt& interrupt_;
  const std::string server_name_;
  std::unique_ptr<cli::RequesterClient> client_;
  bool interactive_ = false;
  bool leave_ = false;
  int exit_status_ = kExitDone;
};

}  // namespace capstan::sqlcmd
