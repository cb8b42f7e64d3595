#include "tests/e2e/tools/capstan_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vdi/base/check.h"

extern char** environ;

namespace capstan::test {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kLongest = 60s;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Pipe MakePipe() {
  std::array<int, 2> fds{};
  CAPSTAN_CHECK(::pipe2(fds.data(), O_CLOEXEC) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Pipe MakeTerminal(int columns, int lines) {
  winsize size{};
  size.ws_col = static_cast<unsigned short>(columns);
  size.ws_row = static_cast<unsigned short>(lines);
  int master = -1;
  int slave = -1;
  CAPSTAN_CHECK(::openpty(&master, &slave, nullptr, nullptr, &size) == 0);
  CAPSTAN_CHECK(::fcntl(master, F_SETFD, FD_CLOEXEC) == 0);
  CAPSTAN_CHECK(::fcntl(slave, F_SETFD, FD_CLOEXEC) == 0);
  return {UniqueFd(master), UniqueFd(slave)};
}

std::vector<std::string> EnvironmentWith(
    const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const bool replaced = std::any_of(added.begin(), added.end(), [&](const auto& pair) {
      return text.starts_with(pair.first + "=");
    });
    // A server address in the environment of the tests must not reach the program.
    if (!replaced && !text.starts_with("CAPSTAN_SERVER=")) {
      environment.push_back(text);
    }
  }
  for (const auto& [name, value] : added) {
    environment.push_back(name + "=" + value);
  }
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

// False at the end of the stream. EIO is how a terminal says that its other side is gone.
bool ReadSome(int fd, std::string& text) {
  std::array<char, 4096> buffer;
  const ssize_t size = ::read(fd, buffer.data(), buffer.size());
  if (size <= 0) {
    return false;
  }
  text.append(buffer.data(), static_cast<std::size_t>(size));
  return true;
}

}  // namespace

Process::Process(const std::string& program, std::vector<std::string> arguments,
                 ProcessOptions options)
    : started_(std::chrono::steady_clock::now()) {
  const bool terminal = options.terminal_columns > 0;
  Pipe in = MakePipe();
  Pipe out = terminal ? MakeTerminal(options.terminal_columns, options.terminal_lines) : MakePipe();
  Pipe error = terminal ? Pipe{} : MakePipe();

  posix_spawn_file_actions_t actions;
  CAPSTAN_CHECK(::posix_spawn_file_actions_init(&actions) == 0);
  ::posix_spawn_file_actions_adddup2(&actions, in.read.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out.write.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, terminal ? out.write.get() : error.write.get(),
                                     STDERR_FILENO);
  if (terminal) {
    options.environment.emplace_back("TERM", "xterm");
  }
  arguments.insert(arguments.begin(), program);
  std::vector<std::string> environment = EnvironmentWith(options.environment);
  CAPSTAN_CHECK(::posix_spawn(&pid_, program.c_str(), &actions, nullptr, Pointers(arguments).data(),
                              Pointers(environment).data()) == 0);
  ::posix_spawn_file_actions_destroy(&actions);
  // Inputs of the tests are short, so that they fit the pipe.
  CAPSTAN_CHECK(options.standard_input.size() <= 65536);
  const ssize_t written =
      ::write(in.write.get(), options.standard_input.data(), options.standard_input.size());
  CAPSTAN_CHECK(written == static_cast<ssize_t>(options.standard_input.size()));
  out_ = std::move(out.read);
  error_ = std::move(error.read);
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void Process::Signal(int signal) const {
  CAPSTAN_CHECK(::kill(pid_, signal) == 0);
}

bool Process::WaitForOutput(const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (out_text_.find(text) == std::string::npos) {
    pollfd wait{out_.get(), POLLIN, 0};
    const auto left = deadline - std::chrono::steady_clock::now();
    const auto left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
    if (left_ms <= 0 || ::poll(&wait, 1, static_cast<int>(left_ms)) <= 0 ||
        !ReadSome(out_.get(), out_text_)) {
      return false;
    }
  }
  return true;
}

ProcessResult Process::Wait() {
  ProcessResult result;
  result.out = std::move(out_text_);
  // poll leaves negative descriptors out.
  std::array<pollfd, 2> waits = {pollfd{out_.get(), POLLIN, 0}, pollfd{error_.get(), POLLIN, 0}};
  while (waits[0].fd >= 0 || waits[1].fd >= 0) {
    const auto left = started_ + kLongest - std::chrono::steady_clock::now();
    const auto left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
    if (left_ms <= 0 || ::poll(waits.data(), waits.size(), static_cast<int>(left_ms)) <= 0) {
      ::kill(pid_, SIGKILL);
      break;
    }
    if (waits[0].revents != 0 && !ReadSome(waits[0].fd, result.out)) {
      waits[0].fd = -1;
    }
    if (waits[1].revents != 0 && !ReadSome(waits[1].fd, result.error)) {
      waits[1].fd = -1;
    }
  }
  int status = 0;
  CAPSTAN_CHECK(::waitpid(pid_, &status, 0) == pid_);
  pid_ = -1;
  result.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.duration = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - started_);
  return result;
}

ProcessResult RunCapstan(std::vector<std::string> arguments, ProcessOptions options) {
  return Process(CAPSTAN_BINARY, std::move(arguments), std::move(options)).Wait();
}

}  // namespace capstan::test
