// LogKeeper: tells every writer which databases are backed up here and where their next log backup
// begins, so that it keeps their logs up to there and lets go of the rest.
//
// Threads: any.
#pragma once

#include <map>
#include <string>

#include "server/catalog/catalog.h"
#include "server/writers/database_writer.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {

class LogKeeper {
 public:
  // Both must outlive it.
  LogKeeper(catalog::Catalog& catalog,
            const std::map<std::string, writers::DatabaseWriter*>& writers)
      : catalog_(catalog), writers_(writers) {}

  // As the catalog is now. Without the catalog nobody lets go of anything.
  void Tell() CAPSTAN_EXCLUDES(mutex_);

 private:
  using Kept = std::map<std::string, std::vector<writers::KeptDatabase>>;  // by scheme
  Result<Kept> Read();

  catalog::Catalog& catalog_;
  const std::map<std::string, writers::DatabaseWriter*>& writers_;
  Mutex mutex_;  // what was read later is told later
};

}  // namespace capstan::engine
