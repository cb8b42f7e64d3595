// Where a backup of a replicated cluster runs, from its kind and what its administrator prefers.
//
//   preference         full, differential   log, copy-only full
//   primary            primary              primary
//   secondary only     primary              secondary
//   prefer secondary   primary              secondary, or the primary if there is none
//   any                primary              secondary, or the primary if there is none
//
// A full backup that is not copy-only is a base, and a differential one is measured by pages of the
// primary, so both run there whatever is preferred.
#pragma once

#include "server/writers/chain.h"
#include "server/writers/postgres/postgres_connection.h"

namespace capstan::writers {

ServerWanted ChooseServer(BackupPreference preference, BackupKind kind, bool copy_only);

}  // namespace capstan::writers
