// PageRecheck: WITH CHECKSUM of a RESTORE: what comes back from a backup set is looked at as pages
// of a database, by the writer that knows them. That the bytes are those that were backed up is
// checked in any case.
//
// A bad page is 3183, with what is wrong in the hint; a job that goes on after errors gets it into
// its damage report.
//
// Threads: Take from any, the rest from the job's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/engine/damage_report.h"
#include "server/media/backup_set.h"
#include "server/media/family_reader.h"
#include "server/writers/database_writer.h"
#include "vdi/base/status.h"

namespace capstan::engine {

class PageRecheck {
 public:
  // Both outlive it.
  PageRecheck(DamageReport& damage, bool continue_after_error)
      : damage_(damage), continue_after_error_(continue_after_error) {}

  // 65024 if none of `writers` knows the database of `set`.
  Status Begin(const std::map<std::string, writers::DatabaseWriter*>& writers,
               const media::BackupSet& set);
  // A frame as it is in the database. Nothing before Begin.
  Status Take(const media::FrameView& frame);
  // Every frame has been taken but for what is `lost`. Nothing without Begin.
  Status Finish(const std::vector<LostRange>& lost);

 private:
  Status OnPageError(const writers::PageError& error);

  DamageReport& damage_;
  const bool continue_after_error_;
  std::string database_name_;
  std::unique_ptr<writers::PageCheck> check_;
};

}  // namespace capstan::engine
