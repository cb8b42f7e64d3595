// A full backup that was interrupted and has left media under construction: finding it, giving it
// up, looking at what its media are. There is at most one per database: the next full backup of it
// goes on with it or gives it up, and whoever drops the database gives it up, too.
//
// Threads: that of a job that has the database, or none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/engine/engine.h"
#include "server/engine/first_error.h"
#include "server/engine/open_set.h"
#include "server/media/backup_set.h"

namespace capstan::engine {

// Its sequence numbers begin here when a backup is gone on with for the nth time: none comes twice,
// not even of a frame that was lost, and with it no nonce.
constexpr std::uint64_t FirstSequence(std::uint32_t restarts) {
  return static_cast<std::uint64_t>(restarts) << 32;
}
inline constexpr std::uint32_t kRestartsMax = 255;

// Whether a job of the journal is one that could be gone on with, kept or not settled yet.
bool IsInterruptedBackup(const catalog::JobRecord& job);
Result<std::optional<catalog::JobRecord>> FindInterruptedBackup(catalog::Catalog& catalog,
                                                                const std::string& database);
// Removes what a backup has left and forgets it. Errors of the devices: then it is still known.
Status DiscardBackup(const Engine::Parts& parts, const catalog::JobRecord& job);
// Of a database; false: there is none.
Result<bool> DiscardInterruptedBackup(const Engine::Parts& parts, const std::string& database);

// For the operator: how it goes on, how it is given up. `bytes`: of the database, that were
// written.
std::string HowToGoOnWithBackup(const std::string& database, std::uint64_t bytes);

// What a family says in front of its frames.
struct FamilyHead {
  media::MediaHeader header;
  media::BackupSet set;
  std::uint64_t size_bytes = 0;  // where its first frame begins
};
// Of the family on a device that was opened to go on with it. Nothing: it has no frame.
// Errors are those of the device.
Result<std::optional<FamilyHead>> ReadFamilyHead(OpenSet& set, DeviceChannel& channel,
                                                 const FirstError& error);
// Whether reading what an interrupted backup has written ended where that ends, and not for a
// reason of the device.
bool IsEndOfWritten(const Status& status);

}  // namespace capstan::engine
