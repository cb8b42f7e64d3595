// What makes a restored cluster a standby that users may read (RESTORE ... WITH STANDBY): a file
// standby.signal, and some lines in its postgresql.auto.conf between two lines of ours. They go
// with LeaveStandby; nothing else of its configuration is touched.
//
// The log that is restored later is put into a folder beside the data directory, from which the
// running server fetches it, every few seconds.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/writers/chain.h"
#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/private_recovery.h"
#include "vdi/base/status.h"

namespace capstan::writers {

// "/srv/pg.capstan-log" of "/srv/pg".
std::string StandbyLogFolder(const std::string& data_directory);

// Replaces what an earlier call wrote. A target: it replays that far and pauses there.
Status WriteStandbySettings(const std::string& data_directory, const RecoveryTarget& target,
                            const FileOwner& owner);
// Nothing there to remove is fine.
Status RemoveStandbySettings(const std::string& data_directory, const FileOwner& owner);

// `text` without our lines.
std::string WithoutStandbyLines(std::string_view text);
// A shell's argument, in single quotes; % doubled, as restore_command needs it.
std::string QuoteForRestoreCommand(std::string_view path);

}  // namespace capstan::writers
