// The catalog's tables, in one place, and the way from older versions of them to this one.
#pragma once

#include <span>

#include "server/catalog/sqlite_connection.h"
#include "vdi/base/status.h"

namespace capstan::catalog {

// Step n (from 0) takes a file of schema version n to version n + 1; the first one makes an empty
// file a catalog. Steps that have been released never change: a new version is a new step.
std::span<const char* const> SchemaSteps();

// Brings the file to version steps.size(), all or nothing. kFailedPrecondition if the file is of a
// newer version or belongs to another program.
Status UpgradeSchema(Connection& connection, std::span<const char* const> steps);

// Our own tables begin with this; requesters see only the views over them.
inline constexpr const char* kInternalPrefix = "catalog_";
// What requesters see: msdb.dbo.backupset is msdb_dbo_backupset.
inline constexpr const char* kPublicPrefix = "msdb_dbo_";

}  // namespace capstan::catalog
