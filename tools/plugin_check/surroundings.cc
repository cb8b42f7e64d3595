#include "tools/plugin_check/surroundings.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace capstan::plugin_check {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kSettleTime{2};
constexpr std::size_t kPage = 4096;

// Kernel threads that carry out io_uring are listed with the process and are nobody's fault.
bool IsKernelThread(const std::string& comm) {
  return comm.starts_with("iou-");
}

std::string FirstLineOf(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::vector<fs::path> OwnThreads() {
  std::vector<fs::path> threads;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc/self/task", ignored)) {
    if (!IsKernelThread(FirstLineOf(entry.path() / "comm"))) {
      threads.push_back(entry.path());
    }
  }
  return threads;
}

std::uint64_t BlockedSignalsOf(const fs::path& thread) {
  std::ifstream status(thread / "status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigBlk:")) {
      return std::strtoull(line.c_str() + 7, nullptr, 16);
    }
  }
  return ~0ULL;  // the thread has just ended
}

// The arguments of cachestat(2), which the C library does not declare yet.
struct CachestatRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
struct CachestatCounts {
  std::uint64_t cached = 0;
  std::uint64_t dirty = 0;
  std::uint64_t writeback = 0;
  std::uint64_t evicted = 0;
  std::uint64_t recently_evicted = 0;
};
constexpr long kCachestatNumber = 451;

// -1: the kernel cannot tell.
std::int64_t UnwrittenBytesOf(int fd) {
  CachestatRange range;
  CachestatCounts counts;
  if (::syscall(kCachestatNumber, fd, &range, &counts, 0U) != 0) {
    return -1;
  }
  return static_cast<std::int64_t>((counts.dirty + counts.writeback) * kPage);
}

// Whether a write that nobody has flushed shows in this folder at all.
bool CanSeeUnwritten(const std::string& folder, std::string* why) {
  std::string path = folder + "/.plugin-check-XXXXXX";
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) {
    *why = fmt::format("no file can be made in '{}': {}", folder, std::strerror(errno));
    return false;
  }
  const std::vector<char> bytes(4 * kPage, 'x');
  const bool written =
      ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  const std::int64_t before = written ? UnwrittenBytesOf(fd) : -1;
  ::fdatasync(fd);
  const std::int64_t after = written ? UnwrittenBytesOf(fd) : -1;
  ::close(fd);
  ::unlink(path.c_str());
  *why =
      fmt::format("the file system of '{}' or this kernel does not show what is unwritten", folder);
  return before > 0 && after == 0;
}

}  // namespace

Holdings HoldingsOfThisProcess() {
  Holdings holdings;
  holdings.threads = OwnThreads().size();
  std::error_code ignored;
  const fs::directory_iterator descriptors("/proc/self/fd", ignored);
  holdings.descriptors = static_cast<std::size_t>(std::distance(begin(descriptors), {}));
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  statm >> total >> resident;
  holdings.resident_bytes = resident * kPage;
  return holdings;
}

Holdings SettledHoldings(const Holdings& before) {
  const auto deadline = std::chrono::steady_clock::now() + kSettleTime;
  Holdings now = HoldingsOfThisProcess();
  while ((now.threads > before.threads || now.descriptors > before.descriptors) &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    now = HoldingsOfThisProcess();
  }
  return now;
}

std::vector<std::string> ThreadsThatTakeSignals() {
  std::vector<std::string> found;
  const std::string self = std::to_string(::gettid());
  for (const fs::path& thread : OwnThreads()) {
    if (thread.filename() == self) {
      continue;
    }
    const std::uint64_t blocked = BlockedSignalsOf(thread);
    for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGALRM, SIGUSR1}) {
      if ((blocked & (1ULL << (number - 1))) == 0) {
        found.push_back(fmt::format("thread '{}' takes SIG{}", FirstLineOf(thread / "comm"),
                                    ::sigabbrev_np(number)));
        break;
      }
    }
  }
  return found;
}

std::vector<std::string> GlobalState() {
  std::vector<std::string> lines;
  for (int number = 1; number < 32; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) == 0) {
      lines.push_back(fmt::format("action of SIG{}: {}", ::sigabbrev_np(number),
                                  reinterpret_cast<std::uintptr_t>(action.sa_handler)));
    }
  }
  lines.push_back(fmt::format("signals blocked: {:#x}", BlockedSignalsOf("/proc/thread-self")));
  std::error_code ignored;
  lines.push_back("working directory: " + fs::current_path(ignored).string());
  const mode_t mask = ::umask(0);
  ::umask(mask);
  lines.push_back(fmt::format("umask: {:o}", mask));
  const char* const locale = std::setlocale(LC_ALL, nullptr);
  lines.push_back(fmt::format("locale: {}", locale == nullptr ? "" : locale));
  std::string environment = "environment:";
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    environment.append(" ").append(*entry);
  }
  lines.push_back(environment);
  return lines;
}

std::vector<std::string> FilesBelow(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code ignored;
  if (!folder.empty()) {
    for (const auto& entry : fs::recursive_directory_iterator(folder, ignored)) {
      if (!entry.is_directory(ignored)) {
        files.push_back(entry.path().string());
      }
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<Unwritten> UnwrittenBelow(const std::string& folder, std::string* why) {
  if (!CanSeeUnwritten(folder, why)) {
    return std::nullopt;
  }
  Unwritten unwritten;
  for (const std::string& path : FilesBelow(folder)) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) {
      if (const std::int64_t bytes = UnwrittenBytesOf(fd); bytes > 0) {
        unwritten.bytes += static_cast<std::size_t>(bytes);
        unwritten.file = path;
      }
      ::close(fd);
    }
  }
  return unwritten;
}

}  // namespace capstan::plugin_check
