// CommandBlocks: the VDC_Command structures of one device, and which command each stands for.
//
// Programs look at a command after they have completed it, so a block is used again only after the
// others: it stays intact for at least kCount - (commands outstanding at most) further commands.
// The program's copy is for the program alone; nothing is read back from it.
// Threads: any, without locks.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "vdi/client_device_set.h"
#include "vdi/sqlvdi/include/vdi.h"

namespace capstan::sqlvdi {

class CommandBlocks {
 public:
  // Twice what can be outstanding, so that half of them is always history.
  static constexpr std::size_t kCount = 512;

  // A block that says what `command` says. Null: kCount commands are outstanding.
  VDC_Command* Take(const vdi::ClientCommand& command);

  // The outstanding command that the block stands for; 0: it stands for none, or is no block of
  // this device at all.
  std::uint64_t IdOf(const VDC_Command* block) const;

  // The command has been completed. REQUIRES: IdOf(block) != 0
  void Release(const VDC_Command* block);

 private:
  struct Block {
    VDC_Command command{};             // first, so that its address is the block's
    std::atomic<std::uint64_t> id{0};  // 0: not outstanding
  };
  static_assert((kCount & (kCount - 1)) == 0, "blocks are found by masking");

  std::array<Block, kCount> blocks_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace capstan::sqlvdi
