// Where each file of a set goes when it is restored. Reads the catalog and the file system, changes
// neither.
#pragma once

#include <vector>

#include "server/catalog/catalog.h"
#include "server/engine/engine.h"
#include "server/media/backup_set.h"
#include "server/writers/database_writer.h"
#include "vdi/base/status.h"

namespace capstan::engine {

// A file as it stands in the backup set.
writers::DatabaseFile FileOf(const media::BackupFile& file);

// MOVE of the file or of its folder, else where earlier sets of the chain put it, else where the
// existing database is (the first file; the others as they lay to it), else where it was. Of a
// snapshot all but the first may be left to the writer (empty). `existing` may be null. 3234.
Result<std::vector<writers::RestoreTarget>> PlanTargets(const RestoreRequest& request,
                                                        const catalog::Database* existing,
                                                        const media::BackupSet& set);

// 3156 for a place that another database has, or where there is a file that the statement may not
// overwrite. `unfinished`: the places of an interrupted restore of the database, which is gone on
// with or given up; where it has built in the place itself, the writer knows it again.
Status CheckTargets(const RestoreRequest& request, const catalog::Database* existing,
                    const std::vector<writers::RestoreTarget>& targets,
                    const std::vector<catalog::Database>& databases,
                    const std::vector<std::string>& unfinished = {});

}  // namespace capstan::engine
