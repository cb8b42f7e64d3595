#include "tools/sqlcmd/shell.h"

#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "tools/client/message_text.h"
#include "tools/client/script_file.h"
#include "tools/client/text_width.h"

namespace capstan::sqlcmd {
namespace {

constexpr int kIncludeDepthMax = 16;
constexpr int kErrorSeverity = 11;  // messages below it inform

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "";
}

std::string Lower(std::string_view text) {
  std::string result;
  for (const char c : text) {
    result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

std::string_view Unquoted(std::string_view text) {
  const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
  return quoted ? text.substr(1, text.size() - 2) : text;
}

// The first word, and what follows it without spaces around.
std::pair<std::string_view, std::string_view> SplitWord(std::string_view text) {
  const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
  return {text.substr(0, end), cli::Trimmed(text.substr(end))};
}

std::optional<std::string> ReadLine(std::FILE* stream) {
  std::string line;
  for (int c = std::getc(stream); c != EOF; c = std::getc(stream)) {
    line += static_cast<char>(c);
    if (c == '\n') {
      break;
    }
  }
  return line.empty() ? std::nullopt : std::optional(std::move(line));
}

}  // namespace

Shell::Shell(Options options, Streams streams, cli::Interrupt& interrupt)
    : options_(std::move(options)),
      streams_(streams),
      interrupt_(interrupt),
      server_name_(HostName()) {}

int Shell::Run() {
  if (options_.query.has_value()) {
    RunText(*options_.query, "command line");
  }
  for (const std::string& file : options_.input_files) {
    if (!leave_) {
      RunFile(file);
    }
  }
  const bool all_done = options_.exit_after_query || !options_.input_files.empty();
  if (!leave_ && !all_done) {
    RunStandardInput();
  }
  interrupt_.OnInterrupt({});  // the client is about to go
  return exit_status_;
}

void Shell::RunStandardInput() {
  interactive_ = ::isatty(STDIN_FILENO) == 1;
  RunOnce("");  // is there a server, and does it let us in?
  if (leave_) {
    return;
  }
  RunLines({.name = "standard input",
            .next = [] { return ReadLine(stdin); },
            .interactive = interactive_});
}

void Shell::RunFile(const std::string& path, int depth) {
  const Result<std::string> text = cli::ReadScriptFile(path);
  if (!text.ok()) {
    Print(streams_.error,
          fmt::format("Sqlcmd: '{}': Invalid filename.\n{}\n", path, text.status().message()));
    exit_status_ = kExitFailed;
    leave_ = true;
    return;
  }
  RunText(*text, path, depth);
}

void Shell::RunText(std::string_view text, const std::string& name, int depth) {
  Result<std::string_view> script = cli::ScriptText(text);
  if (!script.ok()) {
    ReportFailure(Annotate(script.status(), "'" + name + "'"));
    leave_ = true;
    return;
  }
  std::string_view rest = *script;
  RunLines({.name = name,
            .next = [&rest]() -> std::optional<std::string> {
              if (rest.empty()) {
                return std::nullopt;
              }
              const std::size_t end = rest.find('\n');
              const std::size_t size = end == std::string_view::npos ? rest.size() : end + 1;
              std::string line(rest.substr(0, size));
              rest.remove_prefix(size);
              return line;
            },
            .depth = depth});
}

void Shell::RunLines(Source source) {
  cli::BatchCollector collector;
  while (!leave_) {
    if (source.interactive) {
      Print(streams_.out, fmt::format("{}> ", collector.line_count() + 1));
    }
    const std::optional<std::string> line = source.next();
    if (!line.has_value()) {
      break;
    }
    TakeLine(*line, source, collector);
  }
  if (source.interactive) {
    return;  // what was typed without a GO was not meant to run
  }
  if (const std::optional<cli::Batch> batch = collector.Finish(); batch.has_value() && !leave_) {
    RunBatch(*batch);
  }
}

void Shell::TakeLine(std::string_view line, const Source& source, cli::BatchCollector& collector) {
  const Result<std::string> expanded = options_.variables.Expand(line);
  if (!expanded.ok()) {
    ReportMistake(std::string(expanded.status().message()), source);
    collector.Reset();
    return;
  }
  if (collector.at_command() && TakeCommand(*expanded, source, collector)) {
    return;
  }
  if (const std::optional<cli::Batch> batch = collector.Add(*expanded)) {
    RunBatch(*batch);
  }
}

bool Shell::TakeCommand(std::string_view line, const Source& source,
                        cli::BatchCollector& collector) {
  const auto [word, arguments] = SplitWord(cli::Trimmed(line));
  std::string command = Lower(word);
  const bool colon = command.starts_with(':');
  command.erase(0, colon ? 1 : 0);
  if ((command == "quit" || command == "exit") && arguments.empty()) {
    leave_ = true;
  } else if (command == "exit()") {
    if (const std::optional<cli::Batch> batch = collector.Finish()) {
      RunBatch(*batch);
    }
    leave_ = true;
  } else if (command == "reset" && arguments.empty()) {
    collector.Reset();
  } else if (!colon || !line.starts_with(':')) {
    return false;
  } else if (command == "r" && !arguments.empty()) {
    if (source.depth == kIncludeDepthMax) {
      ReportMistake(fmt::format("':r {}' is nested too deeply", arguments), source);
    } else {
      RunFile(std::string(Unquoted(arguments)), source.depth + 1);
    }
  } else if (command == "setvar" && !arguments.empty()) {
    SetVariable(arguments);
  } else if (command == "on" && Lower(arguments) == "error exit") {
    options_.stop_on_error = true;
  } else if (command == "on" && Lower(arguments) == "error ignore") {
    options_.stop_on_error = false;
  } else {
    ReportMistake(fmt::format("Syntax error near command '{}'", word), source);
  }
  return true;
}

void Shell::SetVariable(std::string_view arguments) {
  const auto [name, value] = SplitWord(arguments);
  if (value.empty()) {
    options_.variables.Unset(name);
    return;
  }
  if (const Status status = options_.variables.Set(name, std::string(Unquoted(value)));
      !status.ok()) {
    ReportFailure(status);
  }
}

void Shell::RunBatch(const cli::Batch& batch) {
  for (int run = 0; run < batch.repetitions && !leave_; ++run) {
    if (options_.echo) {
      Print(streams_.out, batch.text.ends_with('\n') ? batch.text : batch.text + '\n');
    }
    RunOnce(batch.text);
  }
}

void Shell::RunOnce(const std::string& batch) {
  if (client_ == nullptr) {
    client_ = std::make_unique<cli::RequesterClient>(
        options_.endpoint, cli::ClientOptions{.credentials = options_.credentials,
                                              .connect_timeout = options_.login_timeout});
  }
  interrupt_.OnInterrupt([client = client_.get()] { client->Cancel(); });
  Reporter reporter(options_, streams_, server_name_);
  const Result<cli::Outcome> outcome =
      client_->Execute(batch, {.timeout = options_.query_timeout}, reporter);
  reporter.Finish();
  interrupt_.OnInterrupt({});
  if (!outcome.ok()) {
    ReportFailure(outcome.status());
  } else if (*outcome == cli::Outcome::kFailed) {
    Fail(std::max(reporter.severity(), kErrorSeverity));
  }
}

void Shell::Fail(int severity) {
  const bool counts = severity >= options_.exit_severity.value_or(kErrorSeverity);
  if (options_.stop_on_error) {
    exit_status_ = counts ? kExitFailed : exit_status_;
    leave_ = counts;
  } else if (options_.exit_severity.has_value() && counts) {
    exit_status_ = severity;  // as sqlcmd sets ERRORLEVEL
  }
}

void Shell::ReportFailure(const Status& status) {
  switch (status.code()) {
    case Code::kUnauthenticated: {
      const bool to_error = options_.standard_error != StandardError::kNothing;
      Print(to_error ? streams_.error : streams_.out,
            cli::FormatMessage(cli::RefusedLogin(status), server_name_));
      exit_status_ = kExitFailed;
      leave_ = true;
      return;
    }
    case Code::kCancelled:
      Print(
          streams_.error,
          "Sqlcmd: Warning: The last operation was terminated because the user pressed CTRL+C.\n");
      if (interactive_) {
        client_.reset();  // a cancelled one runs nothing more
        interrupt_.Rearm();
        return;
      }
      exit_status_ = kExitFailed;
      leave_ = true;
      return;
    default:
      break;
  }
  std::string text = status.code() == Code::kDeadlineExceeded
                         ? "Timeout expired\n"
                         : fmt::format("Sqlcmd: Error: Capstan client : {}.\n", status.message());
  if (!status.hint().empty()) {
    text += fmt::format("HINT: {}\n", status.hint());
  }
  Print(streams_.error, text);
  if (status.code() == Code::kUnavailable) {
    exit_status_ = kExitFailed;
    leave_ = true;
  } else {
    Fail(16);
  }
}

void Shell::ReportMistake(const std::string& text, const Source& source) {
  Print(streams_.error, fmt::format("Sqlcmd: Error: {} in '{}'.\n", text, source.name));
  if (!source.interactive) {
    exit_status_ = kExitFailed;
    leave_ = true;
  }
}

}  // namespace capstan::sqlcmd
