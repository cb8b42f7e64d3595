// Where a cluster is: a location may also be the absolute path of its data directory, which is
// known when no server runs on it, and leads to the server that does.
#pragma once

#include <map>
#include <string>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// "/srv/pg", but not "//host/", the rest of a URI.
bool IsDataDirectoryLocation(const std::string& location);

// A conninfo for the server that runs on the directory, from its postmaster.pid. kUnavailable.
Result<std::string> ConninfoOfDataDirectory(const std::string& data_directory);

// The data directories of servers that have been asked, for when they no longer answer. Threads:
// any.
class KnownDirectories {
 public:
  void Remember(const std::string& location, const std::string& data_directory)
      CAPSTAN_EXCLUDES(mutex_);
  // kFailedPrecondition with the hint to name the directory.
  Result<std::string> Find(const std::string& location) const CAPSTAN_EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::map<std::string, std::string> directories_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
