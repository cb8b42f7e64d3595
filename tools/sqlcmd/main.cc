// sqlcmd: a client with sqlcmd's switches and output, for programs that start one.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "tools/client/credentials.h"
#include "tools/client/interrupt.h"
#include "tools/sqlcmd/options.h"
#include "tools/sqlcmd/reporter.h"
#include "tools/sqlcmd/shell.h"

namespace {

using namespace capstan::sqlcmd;  // NOLINT(google-build-using-namespace): a main, not a header
using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// Takes the arguments, and wipes a password out of what other users' `ps` shows.
std::vector<std::string> TakeArguments(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "-P", 2) != 0) {
      continue;
    }
    const bool attached = argv[i][2] != '\0';
    char* const password = attached ? argv[i] + 2 : argv[i + 1];  // null at the end
    if (password != nullptr) {
      std::memset(password, 'x', std::strlen(password));
    }
  }
  return arguments;
}

int Run(Options options) {
  if (options.ask_password) {
    // Without a terminal there is no password; the server decides whether it needs one.
    const capstan::Result<std::string> password = capstan::cli::AskPassword("Password: ");
    if (password.status().code() == capstan::Code::kCancelled) {
      return kExitFailed;
    }
    if (password.ok()) {
      options.credentials.password = *password;
    }
  }
  File file(nullptr, std::fclose);
  if (options.output_file.has_value()) {
    file.reset(std::fopen(options.output_file->c_str(), "we"));
    if (file == nullptr) {
      const std::string text = fmt::format(
          "Sqlcmd: Error: Error occurred while opening or operating on file {} (Reason: {}).\n",
          *options.output_file, std::strerror(errno));
      Print(stderr, text);
      return kExitFailed;
    }
  }
  std::FILE* const out = file != nullptr ? file.get() : stdout;
  capstan::cli::Interrupt interrupt;  // before gRPC starts its threads
  const int status = Shell(std::move(options), {out, stderr}, interrupt).Run();
  if (std::fflush(out) != 0 || std::ferror(out) != 0) {
    Print(stderr, "Sqlcmd: Error: unable to write the output.\n");
    return kExitFailed;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments = TakeArguments(argc, argv);
  std::variant<Options, Answer> parsed = ParseOptions(arguments, capstan::cli::EnvironmentValue);
  if (const Answer* const answer = std::get_if<Answer>(&parsed)) {
    Print(answer->exit_status == kExitDone ? stdout : stderr, answer->text);
    return answer->exit_status;
  }
  return Run(std::get<Options>(std::move(parsed)));
}
