#include "server/writers/postgres/child_program.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace capstan::writers {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kLineMax = 64 << 10;
constexpr std::chrono::seconds kQuitWait = 5s;

// What the child needs between fork and exec, made before: only async-signal-safe calls are allowed
// there, since other threads of this process may have held locks.
struct Prepared {
  const char* path;
  char* const* arguments;
  char* const* environment;
  FileOwner owner;
  bool drop_rights;
  int death_signal;
  int inherited_fd;
  int output;   // becomes standard output and error
  int failure;  // errno goes here if exec fails; closed by exec
  pid_t parent;
};

[[noreturn]] void FailInChild(const Prepared& prepared, int error) {
  [[maybe_unused]] const ssize_t written = ::write(prepared.failure, &error, sizeof(error));
  ::_exit(127);
}

[[noreturn]] void RunChild(const Prepared& prepared) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    ::signal(signal, SIG_DFL);
  }
  ::setsid();
  if (prepared.drop_rights) {
    // The system calls themselves: the library's functions would speak to all threads.
    if (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
        ::syscall(SYS_setresgid, prepared.owner.group, prepared.owner.group,
                  prepared.owner.group) != 0 ||
        ::syscall(SYS_setresuid, prepared.owner.user, prepared.owner.user, prepared.owner.user) !=
            0) {
      FailInChild(prepared, errno);
    }
  }
  // After the change of user, which clears it.
  ::prctl(PR_SET_PDEATHSIG, prepared.death_signal);
  if (::getppid() != prepared.parent) {
    ::_exit(127);  // the parent went before that
  }
  const int null = ::open("/dev/null", O_RDONLY);
  if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(prepared.output, 1) < 0 ||
      ::dup2(prepared.output, 2) < 0 || ::chdir("/") != 0) {
    FailInChild(prepared, errno);
  }
  if (prepared.inherited_fd >= 0 && ::fcntl(prepared.inherited_fd, F_SETFD, 0) != 0) {
    FailInChild(prepared, errno);
  }
  ::execve(prepared.path, prepared.arguments, prepared.environment);
  FailInChild(prepared, errno);
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) {
    pointers.push_back(text.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> MakePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return OsError(errno, "unable to create a pipe");
  }
  return Pipe{.read = UniqueFd(ends[0]), .write = UniqueFd(ends[1])};
}

bool IsExecutable(const std::string& path) {
  return ::access(path.c_str(), X_OK) == 0;
}

// "postgres (PostgreSQL) 15.10 (Debian ...)" is 15.
bool IsOfMajorVersion(const std::string& program, std::uint32_t major) {
  const FileOwner self{.user = ::geteuid(), .group = ::getegid()};
  auto child = ChildProgram::Start({.path = program, .arguments = {"--version"}, .owner = self});
  if (!child.ok()) {
    return false;
  }
  const auto line = (*child)->ReadLine(Deadline::After(10s));
  if (!line.ok() || !line->has_value()) {
    return false;
  }
  const std::string_view text = **line;
  const std::size_t at = text.find(") ");
  return at != std::string_view::npos && text.substr(at + 2).starts_with(fmt::format("{}.", major));
}

std::vector<std::string> FoldersOfPath() {
  std::vector<std::string> folders;
  const char* const path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    folders.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return folders;
}

}  // namespace

Result<std::unique_ptr<ChildProgram>> ChildProgram::Start(const Options& options) {
  std::vector<std::string> arguments = {options.path};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  std::vector<std::string> environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"};
  const std::vector<char*> argument_pointers = Pointers(arguments);
  const std::vector<char*> environment_pointers = Pointers(environment);
  CAPSTAN_ASSIGN_OR_RETURN(Pipe output, MakePipe());
  CAPSTAN_ASSIGN_OR_RETURN(Pipe failure, MakePipe());
  const Prepared prepared{.path = options.path.c_str(),
                          .arguments = argument_pointers.data(),
                          .environment = environment_pointers.data(),
                          .owner = options.owner,
                          .drop_rights = ::geteuid() == 0 && options.owner.user != 0,
                          .death_signal = options.death_signal,
                          .inherited_fd = options.inherited_fd,
                          .output = output.write.get(),
                          .failure = failure.write.get(),
                          .parent = ::getpid()};
  const pid_t pid = ::fork();
  if (pid < 0) {
    return OsError(errno, fmt::format("unable to start '{}'", options.path));
  }
  if (pid == 0) {
    RunChild(prepared);
  }
  output.write.Reset();
  failure.write.Reset();
  std::unique_ptr<ChildProgram> child(new ChildProgram(pid, std::move(output.read)));
  int error = 0;
  ssize_t size = 0;
  do {
    size = ::read(failure.read.get(), &error, sizeof(error));
  } while (size < 0 && errno == EINTR);
  if (size == sizeof(error)) {
    return OsError(error, fmt::format("unable to start '{}'", options.path));
  }
  return child;
}

ChildProgram::~ChildProgram() {
  if (ended_) {
    return;
  }
  Signal(SIGQUIT);
  if (!Wait(Deadline::After(kQuitWait)).ok()) {
    Signal(SIGKILL);
    // SIGKILL ends it for certain.
    static_cast<void>(Wait(Deadline::Never()).ok());
  }
}

Result<std::optional<std::string>> ChildProgram::ReadLine(Deadline deadline) {
  while (true) {
    const std::size_t end = buffer_.find('\n');
    if (end != std::string::npos || buffer_.size() >= kLineMax) {
      const std::size_t size = std::min(end, kLineMax);
      std::string line = buffer_.substr(0, size);
      buffer_.erase(0, size + (end == size ? 1 : 0));
      return std::optional<std::string>(std::move(line));
    }
    pollfd wait{.fd = output_.get(), .events = POLLIN};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.remaining()).count();
    const int ready = ::poll(&wait, 1, static_cast<int>(std::min<std::int64_t>(left, 60'000)));
    if (ready < 0 && errno != EINTR) {
      return OsError(errno, "unable to wait for a program's output");
    }
    if (ready <= 0) {
      if (deadline.passed()) {
        return Error(Code::kDeadlineExceeded, "the program says nothing any more");
      }
      continue;
    }
    std::array<char, 4096> bytes;
    const ssize_t count = ::read(output_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR) {
      return OsError(errno, "unable to read a program's output");
    }
    if (count == 0) {
      if (buffer_.empty()) {
        return std::optional<std::string>();
      }
      return std::optional<std::string>(std::exchange(buffer_, {}));
    }
    if (count > 0) {
      buffer_.append(bytes.data(), static_cast<std::size_t>(count));
    }
  }
}

void ChildProgram::Signal(int signal) {
  if (!ended_) {
    ::kill(pid_, signal);
  }
}

Result<int> ChildProgram::Wait(Deadline deadline) {
  while (!ended_) {
    int status = 0;
    const pid_t pid = ::waitpid(pid_, &status, deadline.never() ? 0 : WNOHANG);
    if (pid == pid_) {
      ended_ = status;
    } else if (pid < 0 && errno != EINTR) {
      return OsError(errno, "unable to wait for a program");
    } else if (deadline.passed()) {
      return Error(Code::kDeadlineExceeded, "the program does not end");
    } else if (!ended_) {
      std::this_thread::sleep_for(5ms);
    }
  }
  return *ended_;
}

Result<std::string> FindPostgresProgram(const std::string& name, std::uint32_t server_version,
                                        const std::string& bin_folder) {
  const std::uint32_t major = server_version / 10'000;
  std::vector<std::string> folders;
  if (!bin_folder.empty()) {
    folders.push_back(bin_folder);
  }
  folders.push_back(fmt::format("/usr/lib/postgresql/{}/bin", major));  // Debian
  folders.push_back(fmt::format("/usr/pgsql-{}/bin", major));           // PostgreSQL's own packages
  for (std::string& folder : FoldersOfPath()) {
    folders.push_back(std::move(folder));
  }
  folders.emplace_back("/usr/local/pgsql/bin");
  for (const std::string& folder : folders) {
    std::string program = folder + "/" + name;
    if (IsExecutable(program) && IsOfMajorVersion(program, major)) {
      return program;
    }
  }
  return Error(Code::kNotFound, "the program '{}' of PostgreSQL {} is not on this host", name,
               major)
      .WithHint(fmt::format("install PostgreSQL {}, or put its programs on the PATH of the server",
                            major));
}

}  // namespace capstan::writers
