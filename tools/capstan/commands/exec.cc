#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/script.h"

namespace capstan::cli {
namespace {

Result<std::string> ReadAll(std::FILE* stream, const std::string& name) {
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), stream);
    text.append(buffer.data(), size);
    if (size < buffer.size()) {
      break;
    }
  }
  if (std::ferror(stream) != 0) {
    return OsError(errno, "unable to read " + name);
  }
  return text;
}

Result<std::string> ReadScript(const ExecOptions& options) {
  if (options.file.has_value()) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        std::fopen(options.file->c_str(), "re"), [](std::FILE* f) { return std::fclose(f); });
    if (file == nullptr) {
      return OsError(errno, "unable to open '" + *options.file + "'");
    }
    return ReadAll(file.get(), "'" + *options.file + "'");
  }
  if (options.statement.has_value() && *options.statement != "-") {
    return *options.statement;
  }
  return ReadAll(stdin, "standard input");
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
