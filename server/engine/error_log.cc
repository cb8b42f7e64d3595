#include "server/engine/error_log.h"

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/time.h>
#include <unistd.h>

#include "vdi/base/log.h"

namespace capstan::engine {

Result<std::unique_ptr<ErrorLog>> ErrorLog::Open(const std::string& path) {
  const std::string previous = path + ".1";
  if (std::rename(path.c_str(), previous.c_str()) != 0 && errno != ENOENT) {
    return OsError(errno, fmt::format("unable to rename the error log '{}'", path));
  }
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!file.valid()) {
    return OsError(errno, fmt::format("unable to open the error log '{}'", path));
  }
  return std::unique_ptr<ErrorLog>(new ErrorLog(std::move(file)));
}

void ErrorLog::Write(int session_id, std::string_view text) {
  WriteLine(session_id == 0 ? "Server" : fmt::format("spid{}", session_id), text);
}

void ErrorLog::WriteLogon(std::string_view text) {
  WriteLine("Logon", text);
}

void ErrorLog::WriteLine(std::string_view source, std::string_view text) {
  timeval now{};
  ::gettimeofday(&now, nullptr);
  std::tm local{};
  ::localtime_r(&now.tv_sec, &local);
  const std::string line =
      fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:02} {:<10}{}\n", local.tm_year + 1900,
                  local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec,
                  now.tv_usec / 10000, source, text);
  MutexLock lock(mutex_);
  if (::write(file_.get(), line.data(), line.size()) < 0 && !failed_) {
    failed_ = true;
    CAPSTAN_LOG(kError, "unable to write the error log: {}", OsError(errno, "write").message());
  }
}

void ErrorLog::SetTraceFlag(int flag, bool on) {
  MutexLock lock(mutex_);
  if (on) {
    trace_flags_.insert(flag);
  } else {
    trace_flags_.erase(flag);
  }
}

bool ErrorLog::TraceFlag(int flag) const {
  MutexLock lock(mutex_);
  return trace_flags_.contains(flag);
}

}  // namespace capstan::engine
