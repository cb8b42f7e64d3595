// What the standard blocks of any medium, ours or another writer's, say in the terms of
// backup_set.h. Internal to server/media. Threads: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "server/media/backup_set.h"
#include "server/media/capstan_layout.h"
#include "server/media/family_writer.h"
#include "server/media/mtf_values.h"

namespace capstan::media {

// `block` reaches from a block's first byte to its first event at least.
// REQUIRES: block.size() >= sizeof of the structure in question.
MediaHeader ParseTape(Bytes block);
BackupSet ParseSet(Bytes block);
void ParseVolume(Bytes block, BackupSet* set);

// Sizes that this reader can walk: FLB 512 or 1024, filemarks of 512 to 32768 bytes.
bool GeometryIsSound(const TapeBlock& tape);

// The contents of our streams. Nothing if they are not of this version or contradict themselves;
// seals are not looked at here.
std::optional<MediaHeader> ParseMediaSetStream(Bytes content, const MediaHeader& tape);
std::optional<BackupSet> ParseDescriptorStream(Bytes content, bool is_final);
std::optional<std::vector<FamilySummary>> ParseFamiliesStream(Bytes content);
std::optional<std::vector<MediaMapEntry>> ParseMediaMapStream(Bytes content);
std::optional<SpanStream> ParseSpanStream(Bytes content);

}  // namespace capstan::media
