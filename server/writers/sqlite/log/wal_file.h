// WalFile: the file of a WAL, read from the outside, each frame verified against the one before it.
//
// Its descriptor may be closed at any time: SQLite keeps no locks on a WAL. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "server/writers/sqlite/log/log_block.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class WalFile {
 public:
  // kNotFound if there is none.
  static Result<WalFile> Open(const std::string& path);

  // In front of the first frame of what the file now is; the generation is left 0. kDataLoss if its
  // header is not that of a WAL.
  Result<WalPosition> Begin() const;
  // Reads `count` frames behind `position`, verifies them, and moves it. The bytes are valid until
  // the next call. `commit_frame` as FollowFrames sets it.
  Result<std::span<const std::byte>> Read(std::uint32_t count, WalPosition* position,
                                          std::uint32_t* commit_frame);
  // What stands in the header of frame `frame`.
  Result<WalChecksum> StoredChecksum(std::uint32_t frame, std::uint32_t page_size) const;
  // How many frames fit into a block.
  static std::uint32_t FramesPerBlock(std::uint32_t page_size);
  // The file still has its name, or any.
  bool exists() const;

 private:
  explicit WalFile(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
  std::vector<std::byte> buffer_;
};

}  // namespace capstan::writers
