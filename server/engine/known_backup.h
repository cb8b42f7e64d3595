// What the catalog knows of a backup set that has been read from media: whether it is the one that
// was backed up, and where else it is.
//
// The catalog helps where it can. That it cannot be asked, or does not know the set, is no failure.
//
// Threads: any; the functions are stateless.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/catalog/catalog.h"
#include "server/media/backup_set.h"
#include "vdi/base/status.h"

namespace capstan::engine {

struct ReadSet {
  const media::BackupSet& set;  // as its end says
  std::string digest;           // SetDigest of all its frames, as they were found
  std::uint16_t file_number = 1;
  const std::vector<std::string>& targets;  // that it was read from
};

// 3189 unless the frames are those that the set's own end tells of; 65023 unless they are those
// that the catalog remembers. What has no digest is not compared.
Status CheckDigest(catalog::Catalog& catalog, const ReadSet& read);

// What the catalog says otherwise of the set than its media do: a clause, or nothing.
std::string DifferencesToCatalog(catalog::Catalog& catalog, const media::BackupSet& set);

// `failure` with where else the catalog knows this backup to be, and a later one of the same
// database, behind its hint, if it says that data is damaged. `targets` are the devices that are no
// help.
Status WithOtherCopies(Status failure, catalog::Catalog& catalog, const media::BackupSet& set,
                       const std::vector<std::string>& targets);

}  // namespace capstan::engine
