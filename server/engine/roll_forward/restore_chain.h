// Which set may be restored onto a database in the state that it is in, and the state that it is in
// afterwards. Pure.
#pragma once

#include <optional>
#include <string_view>

#include "server/catalog/catalog.h"
#include "server/engine/engine.h"
#include "server/media/backup_set.h"
#include "server/writers/database_writer.h"
#include "vdi/base/status.h"

namespace capstan::engine {

// "RESTORE LOG", "RESTORE DATABASE".
inline std::string_view RestoreCommand(const RestoreRequest& request) {
  return request.log ? "RESTORE LOG" : "RESTORE DATABASE";
}

// Whether the set goes on where the database is. `existing` is null if there is no such database.
// At the beginning of a set its last LSN may not be known yet (0); then it is asked for again at
// its end. 3117, 3118, 3135, 3136, 4305, 4319, 4326, 4330, 4338.
Status CheckRestoreChain(const RestoreRequest& request, const catalog::Database* existing,
                         const media::BackupSet& set);

// Whether RESTORE ... WITH RECOVERY alone can bring the database into use: 3153, 4319.
Status CheckRecover(const catalog::Database& database);

// `before` is the state of the database before this set, which is null for RESTORE WITH RECOVERY.
catalog::RollForward RollForwardAfter(const catalog::RollForward& before,
                                      const media::BackupSet* set, writers::RestoreEnd end,
                                      const writers::RestoreOutcome& outcome);

}  // namespace capstan::engine
