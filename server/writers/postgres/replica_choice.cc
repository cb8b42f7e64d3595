#include "server/writers/postgres/replica_choice.h"

namespace capstan::writers {

ServerWanted ChooseServer(BackupPreference preference, BackupKind kind, bool copy_only) {
  const bool can_move = kind == BackupKind::kLog || (kind == BackupKind::kFull && copy_only);
  if (!can_move || preference == BackupPreference::kPrimary) {
    return ServerWanted::kPrimary;
  }
  return preference == BackupPreference::kSecondaryOnly ? ServerWanted::kStandby
                                                        : ServerWanted::kPreferStandby;
}

}  // namespace capstan::writers
