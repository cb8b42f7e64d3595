// What SQL Server says of a set in its own records: the OS-specific data of SSET, the RAID stream
// of TAPE, and the configuration (stream MQCI: SCIN, SFGI, SFIN), which stands at the beginning of
// a set with estimates and at its end with final values.
//
// The bytes are untrusted: every length is checked, records must tile the stream, and what does not
// fit makes the whole a failure. Internal to server/media. Threads: any.
#pragma once

#include <optional>
#include <string>

#include "server/media/backup_set.h"
#include "server/media/mtf_values.h"
#include "server/media/set_facts.h"
#include "server/media/sqlserver/sqlserver_layout.h"

namespace capstan::media::sqlserver {

// REQUIRES: block.size() >= sizeof(SetBlock).
void ParseSetOsData(Bytes block, SetFacts* facts);

// Media set, family count and number into `header`. False if `content` cannot be a RAID stream.
bool ParseRaid(Bytes content, MediaHeader* header);

enum class ConfigurationPlace { kStart, kEnd };

// Adds what a configuration says to `set`. False, and `set` as it was, if it is malformed. One from
// the start of a set gives no sizes, LSNs or dates that only its end knows.
bool ParseConfiguration(Bytes content, ConfigurationPlace place, ForeignSet* set);

// As HEADERONLY prints it: vlf * 10^15 + block * 10^5 + slot.
std::string LsnText(const Lsn& lsn);

}  // namespace capstan::media::sqlserver
