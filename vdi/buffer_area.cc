#include "vdi/buffer_area.h"

namespace capstan::vdi {
namespace {

std::uint64_t RoundUp(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace

std::uint64_t BufferAreaLayout::prefix_room() const {
  return RoundUp(prefix_zone_size, alignment);
}

std::uint64_t BufferAreaLayout::stride() const {
  return prefix_room() + RoundUp(size, alignment);
}

std::uint64_t BufferAreaLayout::area_size() const {
  return stride() * count;
}

Result<std::unique_ptr<BufferArea>> BufferArea::Create(const BufferAreaLayout& layout) {
  CAPSTAN_ASSIGN_OR_RETURN(
      SharedMemory memory,
      SharedMemory::Create("capstan-buffers", layout.area_size(), layout.alignment));
  memory.Populate();
  return std::unique_ptr<BufferArea>(new BufferArea(layout, std::move(memory)));
}

BufferArea::BufferArea(const BufferAreaLayout& layout, SharedMemory memory)
    : layout_(layout), memory_(std::move(memory)), taken_(layout.count, false) {
  free_.reserve(layout.count);
  for (std::uint32_t slot = layout.count; slot > 0; --slot) {
    free_.push_back(slot - 1);
  }
}

Result<std::byte*> BufferArea::Allocate() {
  MutexLock lock(mutex_);
  if (free_.empty()) {
    return Error(Code::kResourceExhausted, "all {} buffers of the device set are taken",
                 layout_.count);
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  taken_[slot] = true;
  return memory_.data() + slot * layout_.stride() + layout_.prefix_room();
}

Status BufferArea::Free(std::byte* data) {
  const std::optional<std::uint32_t> slot = SlotOf(data);
  MutexLock lock(mutex_);
  if (!slot || !taken_[*slot]) {
    return Error(Code::kInvalidArgument, "the address is not that of a buffer taken from this set");
  }
  taken_[*slot] = false;
  free_.push_back(*slot);
  return OkStatus();
}

std::optional<std::uint64_t> BufferArea::OffsetOf(const std::byte* data) const {
  const std::optional<std::uint32_t> slot = SlotOf(data);
  if (!slot) {
    return std::nullopt;
  }
  return *slot * layout_.stride() + layout_.prefix_room();
}

std::optional<std::uint32_t> BufferArea::SlotOf(const std::byte* data) const {
  const auto base = reinterpret_cast<std::uintptr_t>(memory_.data());
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  if (address < base + layout_.prefix_room() || address >= base + memory_.size()) {
    return std::nullopt;
  }
  const std::uint64_t offset = address - base - layout_.prefix_room();
  if (offset % layout_.stride() != 0) {
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(offset / layout_.stride());
}

}  // namespace capstan::vdi
