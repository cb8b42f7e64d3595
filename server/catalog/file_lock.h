// The advisory lock that keeps a second server away from a catalog. The lock file stays when the
// lock is released; only the kernel's lock on it counts, so a crash leaves nothing behind.
#pragma once

#include <string>

#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::catalog {

class FileLock {
 public:
  // Locks `path` + ".lock". kFailedPrecondition, with the process id of the holder, if another
  // server, or another Catalog of this process, has the lock.
  static Result<FileLock> Acquire(const std::string& path);

 private:
  explicit FileLock(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;  // closing it releases the lock
};

}  // namespace capstan::catalog
