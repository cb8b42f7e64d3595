// By what a file of a snapshot is recognised when it comes back: bytes that stand in the set's
// description (DatabaseFile::frozen_state) and in the file.
//
// The database: its header, with the change counter, and a checksum of 16 samples. The WAL: its
// header with the salts, the number of the last frame, and that frame's header, whose checksum runs
// through all frames before it. Threads: any; stateless.
#pragma once

#include <cstdint>
#include <string>

#include "vdi/base/status.h"

namespace capstan::writers {

// Of the database file that `fd` has open.
Result<std::string> FrozenStateOfDatabase(int fd);
// Of a WAL; empty for an empty one. kDataLoss if the WAL is shorter than that.
Result<std::string> FrozenStateOfWal(int fd, std::uint32_t page_size, std::uint32_t last_frame);
// The number of the last frame in a WAL's state; 0 if it says none.
std::uint32_t LastFrameOf(const std::string& wal_state);

}  // namespace capstan::writers
