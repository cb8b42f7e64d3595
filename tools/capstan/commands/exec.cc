#include <cstdio>

#include "tools/capstan/commands/commands.h"
#include "tools/client/script.h"
#include "tools/client/script_file.h"

namespace capstan::cli {
namespace {

Result<std::string> ReadScript(const ExecOptions& options) {
  if (options.file.has_value()) {
    return ReadScriptFile(*options.file);
  }
  if (options.statement.has_value() && *options.statement != "-") {
    return *options.statement;
  }
  return ReadStream(stdin, "standard input");
}

}  // namespace

ExitStatus RunExec(Session& session, const ExecOptions& options) {
  const Result<std::string> script = ReadScript(options);
  if (!script.ok()) {
    return ReportFailure(session.console, script.status());
  }
  const Result<std::vector<Batch>> batches = SplitScript(*script);
  if (!batches.ok()) {
    return ReportFailure(session.console, batches.status());
  }
  ExitStatus worst = ExitStatus::kDone;
  for (const Batch& batch : *batches) {
    for (int run = 0; run < batch.repetitions; ++run) {
      const ExitStatus status =
          RunStatement(session, batch.text, {.format = options.format, .with_progress = true});
      worst = status == ExitStatus::kDone ? worst : status;
      const bool interrupted = session.interrupt.WaitFor(std::chrono::milliseconds(0));
      const bool stop = status == ExitStatus::kUnreachable || interrupted ||
                        (status != ExitStatus::kDone && options.stop_on_error);
      if (stop) {
        return worst;
      }
    }
  }
  return worst;
}

}  // namespace capstan::cli
