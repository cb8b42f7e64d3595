// ErrorLog: the server's log in SQL Server's layout, for the people and the tools that read
// ERRORLOG.
//
//   2008-07-14 17:21:20.65 spid51    BACKUP DATABASE successfully processed 315 pages in ...
//
// Lines go to a file, appended; errors of the log itself are reported once on standard error, since
// a backup must not fail because its log did. Threads: any.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::engine {

class ErrorLog {
 public:
  // Opens `path` for append, keeping the previous server's log as `path`.1.
  static Result<std::unique_ptr<ErrorLog>> Open(const std::string& path);

  // `session_id` 0 is the server itself ("Server").
  void Write(int session_id, std::string_view text) CAPSTAN_EXCLUDES(mutex_);
  // Of what happens before there is a session ("Logon").
  void WriteLogon(std::string_view text) CAPSTAN_EXCLUDES(mutex_);

  // DBCC TRACEON and TRACEOFF; 3605 and 3213 together write buffer configurations here (S1-14),
  // 3023 makes CHECKSUM the default of backups (S0-30). Others are remembered and mean nothing.
  void SetTraceFlag(int flag, bool on) CAPSTAN_EXCLUDES(mutex_);
  bool TraceFlag(int flag) const CAPSTAN_EXCLUDES(mutex_);

 private:
  void WriteLine(std::string_view source, std::string_view text) CAPSTAN_EXCLUDES(mutex_);

  explicit ErrorLog(UniqueFd file) : file_(std::move(file)) {}

  const UniqueFd file_;
  mutable Mutex mutex_;
  bool failed_ CAPSTAN_GUARDED_BY(mutex_) = false;
  std::set<int> trace_flags_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::engine
