#include "vdi/buffer_pool.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace capstan::vdi {

Result<std::uint32_t> BufferPool::Add(std::unique_ptr<BufferArea> area) {
  MutexLock lock(mutex_);
  const std::uint32_t index = count_.load(std::memory_order_relaxed);
  if (index == kBufferAreasMax) {
    return Error(Code::kResourceExhausted, "a device set has {} buffer areas at most",
                 kBufferAreasMax);
  }
  for (std::size_t i = 0; i < area->classes().size(); ++i) {
    choices_.push_back({.shape = area->classes()[i], .area = area.get(), .class_index = i});
  }
  std::stable_sort(choices_.begin(), choices_.end(), [](const Choice& left, const Choice& right) {
    return std::tie(left.shape.size, left.shape.alignment) <
           std::tie(right.shape.size, right.shape.alignment);
  });
  areas_[index] = std::move(area);
  count_.store(index + 1, std::memory_order_release);
  return index;
}

Result<std::byte*> BufferPool::Allocate(std::uint32_t size, std::uint32_t alignment) {
  MutexLock lock(mutex_);
  bool requested = false;
  for (const Choice& choice : choices_) {
    if (choice.shape.Fits(size, alignment)) {
      requested = true;
      if (std::byte* const data = choice.area->Allocate(choice.class_index); data != nullptr) {
        return data;
      }
    }
  }
  return Error(Code::kResourceExhausted, "{} of {} bytes at multiples of {}",
               requested ? "all buffers are taken" : "no buffers were requested", size, alignment);
}

std::uint32_t BufferPool::Available(std::uint32_t size, std::uint32_t alignment) const {
  MutexLock lock(mutex_);
  std::uint32_t available = 0;
  for (const Choice& choice : choices_) {
    if (choice.shape.Fits(size, alignment)) {
      available += choice.area->FreeCount(choice.class_index);
    }
  }
  return available;
}

Status BufferPool::Free(std::byte* data) {
  if (BufferArea* const area = AreaOf(data)) {
    return area->Free(data);
  }
  return Error(Code::kInvalidArgument, "the address is not that of a buffer taken from this set");
}

std::optional<BufferPool::Place> BufferPool::Find(const std::byte* data) const {
  const std::uint32_t count = area_count();
  for (std::uint32_t index = 0; index < count; ++index) {
    if (areas_[index]->Contains(data)) {
      const auto place = areas_[index]->Find(data);
      return place
                 ? std::optional(Place{.area = index, .offset = place->offset, .size = place->size})
                 : std::nullopt;
    }
  }
  return std::nullopt;
}

bool BufferPool::Contains(const std::byte* address) const {
  return AreaOf(address) != nullptr;
}

std::uint64_t BufferPool::size() const {
  std::uint64_t bytes = 0;
  for (std::uint32_t index = 0; index < area_count(); ++index) {
    bytes += areas_[index]->memory().size();
  }
  return bytes;
}

void BufferPool::Clear() {
  MutexLock lock(mutex_);
  choices_.clear();
  count_.store(0, std::memory_order_release);
  for (auto& area : areas_) {
    area.reset();
  }
}

BufferArea* BufferPool::AreaOf(const std::byte* address) const {
  const std::uint32_t count = area_count();
  for (std::uint32_t index = 0; index < count; ++index) {
    if (areas_[index]->Contains(address)) {
      return areas_[index].get();
    }
  }
  return nullptr;
}

}  // namespace capstan::vdi
