// Backup and restore history: the rows of msdb's tables.
//
// Threads: as the connection. Every function is called inside a transaction.
#pragma once

#include <cstdint>
#include <string>

#include "server/catalog/catalog.h"
#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {

// Writes a backup's rows, invisible, and returns their backup_set_id. The media set may be known
// from earlier backups; its rows then stay as they are. kAlreadyExists if the set is recorded.
Result<std::int64_t> InsertBackup(Connection& connection, const JobRecord& job,
                                  const media::MediaHeader& header, const media::BackupSet& set);
// The same without the families, whose places a caller knows by other means.
Result<std::int64_t> InsertSet(Connection& connection, std::int64_t media_set_id,
                               const media::MediaHeader& header, const media::BackupSet& set);
// The id of the media set, whose row is written invisible if there is none.
Result<std::int64_t> FindOrInsertMediaSet(Connection& connection, const media::MediaHeader& header);
// A family's 32-bit id as RESTORE LABELONLY shows it: the first group of a GUID.
std::string FamilyGuid(std::uint32_t media_family_id);
// Shows them, and notes where the media of the job were written.
Status ShowBackup(Connection& connection, const JobRecord& job, std::int64_t backup_set_id);
// Removes the rows of a backup that was never shown. REQUIRES: no job refers to them any more.
Status RemoveBackup(Connection& connection, std::int64_t backup_set_id);

Status InsertRestore(Connection& connection, const JobRecord& job, const RestoreRecord& restore);

}  // namespace capstan::catalog
