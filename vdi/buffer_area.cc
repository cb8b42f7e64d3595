#include "vdi/buffer_area.h"

#include <algorithm>
#include <utility>

namespace capstan::vdi {
namespace {

std::uint64_t RoundUp(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// Where each class starts, and the end of the last.
std::vector<std::uint64_t> Arrange(const std::vector<BufferClass>& classes) {
  std::vector<std::uint64_t> starts;
  std::uint64_t end = 0;
  for (const BufferClass& one : classes) {
    starts.push_back(RoundUp(end, one.alignment));
    end = starts.back() + one.stride() * one.count;
  }
  starts.push_back(end);
  return starts;
}

std::uint32_t StrictestAlignment(const std::vector<BufferClass>& classes) {
  std::uint32_t strictest = 1;
  for (const BufferClass& one : classes) {
    strictest = std::max(strictest, one.alignment);
  }
  return strictest;
}

}  // namespace

std::uint64_t BufferClass::prefix_room() const {
  return RoundUp(prefix_zone_size, alignment);
}

std::uint64_t BufferClass::stride() const {
  return prefix_room() + RoundUp(size, alignment);
}

std::uint64_t BufferAreaSize(const std::vector<BufferClass>& classes) {
  return Arrange(classes).back();
}

Result<std::unique_ptr<BufferArea>> BufferArea::Create(std::vector<BufferClass> classes) {
  CAPSTAN_ASSIGN_OR_RETURN(SharedMemory memory,
                           SharedMemory::Create("capstan-buffers", BufferAreaSize(classes),
                                                StrictestAlignment(classes)));
  memory.Populate();
  return std::unique_ptr<BufferArea>(new BufferArea(std::move(classes), std::move(memory)));
}

BufferArea::BufferArea(std::vector<BufferClass> classes, SharedMemory memory)
    : classes_(std::move(classes)), starts_(Arrange(classes_)), memory_(std::move(memory)) {
  for (const BufferClass& one : classes_) {
    Occupancy& occupancy = occupancy_.emplace_back();
    occupancy.taken.resize(one.count, false);
    occupancy.free.reserve(one.count);
    for (std::uint32_t number = one.count; number > 0; --number) {
      occupancy.free.push_back(number - 1);
    }
  }
}

std::byte* BufferArea::Allocate(std::size_t class_index) {
  const BufferClass& one = classes_[class_index];
  MutexLock lock(mutex_);
  Occupancy& occupancy = occupancy_[class_index];
  if (occupancy.free.empty()) {
    return nullptr;
  }
  const std::uint32_t number = occupancy.free.back();
  occupancy.free.pop_back();
  occupancy.taken[number] = true;
  return memory_.data() + starts_[class_index] + number * one.stride() + one.prefix_room();
}

Status BufferArea::Free(std::byte* data) {
  const std::optional<Slot> slot = SlotOf(data);
  MutexLock lock(mutex_);
  if (!slot || !occupancy_[slot->class_index].taken[slot->number]) {
    return Error(Code::kInvalidArgument, "the address is not that of a buffer taken from this set");
  }
  occupancy_[slot->class_index].taken[slot->number] = false;
  occupancy_[slot->class_index].free.push_back(slot->number);
  return OkStatus();
}

std::uint32_t BufferArea::FreeCount(std::size_t class_index) const {
  MutexLock lock(mutex_);
  return static_cast<std::uint32_t>(occupancy_[class_index].free.size());
}

std::optional<BufferArea::Place> BufferArea::Find(const std::byte* data) const {
  const std::optional<Slot> slot = SlotOf(data);
  if (!slot) {
    return std::nullopt;
  }
  return Place{.offset = slot->offset, .size = classes_[slot->class_index].size};
}

bool BufferArea::Contains(const std::byte* address) const {
  const auto base = reinterpret_cast<std::uintptr_t>(memory_.data());
  return reinterpret_cast<std::uintptr_t>(address) - base < memory_.size();
}

std::uint32_t BufferArea::alignment() const {
  return StrictestAlignment(classes_);
}

std::optional<BufferArea::Slot> BufferArea::SlotOf(const std::byte* data) const {
  if (!Contains(data)) {
    return std::nullopt;
  }
  const auto offset = static_cast<std::uint64_t>(data - memory_.data());
  std::size_t i = 0;
  while (offset >= starts_[i + 1]) {
    ++i;
  }
  const BufferClass& one = classes_[i];
  const std::uint64_t first = starts_[i] + one.prefix_room();
  if (offset < first || (offset - first) % one.stride() != 0) {
    return std::nullopt;
  }
  const std::uint64_t number = (offset - first) / one.stride();
  // Behind the last buffer there may be padding for the next class.
  if (number >= one.count) {
    return std::nullopt;
  }
  return Slot{.class_index = i, .number = static_cast<std::uint32_t>(number), .offset = offset};
}

}  // namespace capstan::vdi
