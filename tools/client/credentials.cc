#include "tools/client/credentials.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <pwd.h>
#include <termios.h>
#include <unistd.h>

#include "vdi/base/unique_fd.h"

namespace capstan::cli {
namespace {

constexpr char kCtrlC = 3;

// No echo while it lives, and Ctrl-C is a character that ends the line: a program that it killed
// would leave the terminal silent. Without effect where the settings cannot be read.
class SilentTerminal {
 public:
  explicit SilentTerminal(int terminal) : terminal_(terminal) {
    changed_ = ::tcgetattr(terminal_, &before_) == 0;
    if (changed_) {
      termios silent = before_;
      silent.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG);
      silent.c_cc[VEOL] = kCtrlC;
      ::tcsetattr(terminal_, TCSAFLUSH, &silent);
    }
  }
  ~SilentTerminal() {
    if (changed_) {
      ::tcsetattr(terminal_, TCSAFLUSH, &before_);
    }
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;

 private:
  const int terminal_;
  termios before_{};
  bool changed_ = false;
};

// One line without its end; byte by byte, so that nothing of the next line is taken.
Result<std::string> ReadLine(int fd, const std::string& name) {
  std::string line;
  for (;;) {
    char byte = 0;
    const ssize_t size = ::read(fd, &byte, 1);
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size < 0) {
      return OsError(errno, "unable to read " + name);
    }
    if (size == 0 || byte == '\n') {
      break;
    }
    line += byte;
    if (byte == kCtrlC) {
      break;
    }
  }
  if (line.ends_with('\r')) {
    line.pop_back();
  }
  return line;
}

void Print(int fd, std::string_view text) {
  // A prompt that cannot be written is only a prompt.
  [[maybe_unused]] const ssize_t written = ::write(fd, text.data(), text.size());
}

}  // namespace

std::string SystemUserName() {
  const uid_t user = ::geteuid();
  std::array<char, 4096> buffer;
  passwd entry{};
  passwd* found = nullptr;
  ::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found);
  return found != nullptr ? std::string(found->pw_name) : std::to_string(user);
}

std::optional<std::string> EnvironmentValue(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

Result<std::string> AskPassword(std::string_view prompt) {
  const UniqueFd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal.valid()) {
    return Error(Code::kFailedPrecondition, "there is no terminal to ask for the password")
        .WithOsError(errno);
  }
  const SilentTerminal silent(terminal.get());
  Print(terminal.get(), prompt);
  Result<std::string> password = ReadLine(terminal.get(), "the terminal");
  Print(terminal.get(), "\n");
  if (password.ok() && password->find(kCtrlC) != std::string::npos) {
    return Error(Code::kCancelled, "cancelled");
  }
  return password;
}

Result<std::string> ReadPasswordFile(const std::string& path) {
  const bool standard_input = path == "-";
  const std::string name = standard_input ? "standard input" : "'" + path + "'";
  UniqueFd file;
  if (!standard_input) {
    file.Reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) {
      return OsError(errno, "unable to open " + name);
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(std::string password,
                           ReadLine(standard_input ? STDIN_FILENO : file.get(), name));
  if (password.empty()) {
    return Error(Code::kInvalidArgument, "the first line of {} is empty", name);
  }
  return password;
}

}  // namespace capstan::cli
