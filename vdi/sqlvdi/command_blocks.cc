#include "vdi/sqlvdi/command_blocks.h"

namespace capstan::sqlvdi {

VDC_Command* CommandBlocks::Take(const vdi::ClientCommand& command) {
  for (std::size_t tries = 0; tries < kCount; ++tries) {
    Block& block = blocks_[next_.fetch_add(1, std::memory_order_relaxed) & (kCount - 1)];
    std::uint64_t none = 0;
    // SYNC(block), acquire half: whoever released the block is done with it.
    if (block.id.compare_exchange_strong(none, command.id, std::memory_order_acquire,
                                         std::memory_order_relaxed)) {
      block.command = {.commandCode = static_cast<std::int32_t>(command.code),
                       .size = static_cast<std::int32_t>(command.size),
                       .position = command.position,
                       .buffer = reinterpret_cast<std::uint8_t*>(command.buffer)};
      return &block.command;
    }
  }
  return nullptr;
}

std::uint64_t CommandBlocks::IdOf(const VDC_Command* block) const {
  const auto offset =
      reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(blocks_.data());
  if (offset >= sizeof(blocks_) || offset % sizeof(Block) != 0) {
    return 0;
  }
  return blocks_[offset / sizeof(Block)].id.load(std::memory_order_relaxed);
}

void CommandBlocks::Release(const VDC_Command* block) {
  const auto offset =
      reinterpret_cast<std::uintptr_t>(block) - reinterpret_cast<std::uintptr_t>(blocks_.data());
  // SYNC(block), release half: the program has read the block for the last time that counts.
  blocks_[offset / sizeof(Block)].id.store(0, std::memory_order_release);
}

}  // namespace capstan::sqlvdi
