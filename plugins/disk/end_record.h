// EndRecord: where a construction that was gone on with is to end, noted in its own file.
//
//   | bytes of the medium | bytes of an earlier opening, maybe torn | record |
//   0                    end                                    place    one block of 4096 bytes
//
//   "capstan-end 1 <token> <end> <place> <checksum>\n", then zeros
//
// The size of the file says where a construction ends, unless an earlier opening wrote further than
// the one that was flushed last. Cutting the file there at a flush would take away what the engine
// may still want to keep, so the flush says where the end is, and recovery cuts. A record is the
// last block of its file, at a multiple of 4096, or it is none.
// Threads: any; no ownership.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/disk/failure.h"

namespace capstan::disk {

struct EndRecord {
  std::int64_t end = 0;    // of the medium
  std::int64_t place = 0;  // of the record, which is the size of the file without it
};

// Where the record of a file of that size belongs.
std::int64_t PlaceOfEndRecord(std::int64_t size);

// `path` is the medium's, for messages. Durable once the file is synced.
Failure WriteEndRecord(int file, const std::string& path, const std::string& token,
                       const EndRecord& record);

// *found: there is one, of that token, and it is whole.
Failure ReadEndRecord(int file, const std::string& path, const std::string& token,
                      EndRecord* record, bool* found);

}  // namespace capstan::disk
