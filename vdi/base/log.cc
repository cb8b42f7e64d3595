#include "vdi/base/log.h"

#include <atomic>
#include <ctime>
#include <string>

#include <sys/time.h>
#include <unistd.h>

namespace capstan {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};

}  // namespace

void SetLogLevel(LogLevel level) {
  g_level.store(level, std::memory_order_relaxed);
}

bool LogEnabled(LogLevel level) {
  return level >= g_level.load(std::memory_order_relaxed);
}

void WriteLogLine(LogLevel level, std::string_view text) {
  timeval now{};
  ::gettimeofday(&now, nullptr);
  std::tm local{};
  ::localtime_r(&now.tv_sec, &local);
  std::string line =
      fmt::format("{} {:02}:{:02}:{:02}.{:03} {}\n", "DIWE"[static_cast<int>(level)], local.tm_hour,
                  local.tm_min, local.tm_sec, now.tv_usec / 1000, text);
  // Nothing sensible is left to do when standard error cannot be written.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace capstan
