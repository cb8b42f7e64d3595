// Procedures that neither move data nor ask the catalog: sizes, folders, room, certificates.
//
// Threads: any.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/coordinator/drive_map.h"
#include "server/media/backup_set.h"
#include "server/transform/certificate_store.h"
#include "server/tsql/statement.h"
#include "server/writers/database_writer.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

// The two result sets of sp_spaceused. `reserved` is what a full backup has to store (S0-55): the
// database as it would be backed up now, before compression.
std::pair<catalog::Table, catalog::Table> SpaceUsedTables(
    std::string_view database, const writers::DatabaseDescription& description);

// xp_create_subdir: makes a folder and those above it; one that is there is fine. 22048 with the
// number of the operating system's error.
Status CreateFolder(const DriveMap& drives, const std::string& path);

// RESTORE VERIFYONLY ... WITH MOVE: whether the files of `set` fit where they are to go. 3234 for a
// file that is not in the set, 3156 for a place that there is not, 3257 where there is no room.
Status CheckRoom(const DriveMap& drives, const media::BackupSet& set,
                 const std::vector<std::pair<std::string, std::string>>& moves);

// CREATE, BACKUP and DROP CERTIFICATE.
Status RunCertificateStatement(transform::CertificateStore& certificates, const DriveMap& drives,
                               const tsql::CertificateStatement& statement);

// sys.certificates
Result<catalog::Table> CertificatesTable(const transform::CertificateStore& certificates);

}  // namespace capstan::coordinator
