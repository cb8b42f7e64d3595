// The log: one line, one write(2), to standard error. Rotation belongs to the supervisor.
//
//   CAPSTAN_LOG(kInfo, "backup begin job={} devices={}", job_id, count);
//   I 12:03:04.512 backup begin job=42 devices=4
//
// error = someone must act; warning = handled, but odd; info = begin and end of jobs, attach,
// detach; debug = the rest (off unless SetLogLevel lowers the level). Threads: any.
#pragma once

#include <string_view>

#include <fmt/core.h>

namespace capstan {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);
void WriteLogLine(LogLevel level, std::string_view text);

}  // namespace capstan

#define CAPSTAN_LOG(level, ...)                                                        \
  do {                                                                                 \
    if (::capstan::LogEnabled(::capstan::LogLevel::level)) {                           \
      ::capstan::WriteLogLine(::capstan::LogLevel::level, ::fmt::format(__VA_ARGS__)); \
    }                                                                                  \
  } while (false)
