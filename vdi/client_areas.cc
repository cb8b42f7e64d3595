#include "vdi/client_areas.h"

#include <utility>

#include "vdi/base/clock.h"

namespace capstan::vdi {
namespace {

constexpr int kAreaShift = 28;
constexpr std::uint64_t kUnit = 512;
static_assert(kBufferAreasMax <= 1U << (32 - kAreaShift));

}  // namespace

Status ClientAreas::Add(std::uint32_t index, SharedMemory memory) {
  MutexLock lock(mutex_);
  if (index != count_.load(std::memory_order_relaxed) || index >= kBufferAreasMax) {
    return Error(Code::kDataLoss, "the engine passed buffer area {} out of turn", index);
  }
  areas_[index] = std::move(memory);
  // SYNC(area-added), release half; the acquire halves load `count_`.
  count_.store(index + 1, std::memory_order_release);
  changed_.NotifyAll();
  return OkStatus();
}

const SharedMemory* ClientAreas::Await(std::uint32_t index, std::chrono::milliseconds patience) {
  if (index < count_.load(std::memory_order_acquire)) {
    return &*areas_[index];
  }
  const Deadline deadline = Deadline::After(patience);
  MutexLock lock(mutex_);
  while (!stopped_ && index < kBufferAreasMax) {
    if (index < count_.load(std::memory_order_acquire)) {
      return &*areas_[index];
    }
    if (deadline.passed()) {
      break;
    }
    changed_.WaitUntil(mutex_, deadline.when());
  }
  return nullptr;
}

void ClientAreas::Stop() {
  MutexLock lock(mutex_);
  stopped_ = true;
  changed_.NotifyAll();
}

void ClientAreas::Clear() {
  MutexLock lock(mutex_);
  count_.store(0, std::memory_order_release);
  for (auto& area : areas_) {
    area.reset();
  }
}

std::optional<BufferHandle> ClientAreas::HandleOf(const std::byte* data,
                                                  std::uint32_t alignment) const {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const std::uint32_t count = count_.load(std::memory_order_acquire);
  for (std::uint32_t index = 0; index < count; ++index) {
    const auto base = reinterpret_cast<std::uintptr_t>(areas_[index]->data());
    if (address >= base && address - base < areas_[index]->size()) {
      const std::uint64_t offset = address - base;
      if (offset % alignment != 0) {
        return std::nullopt;
      }
      return index << kAreaShift | static_cast<BufferHandle>(offset / kUnit + 1);
    }
  }
  return std::nullopt;
}

std::byte* ClientAreas::AwaitAddressOf(BufferHandle handle, std::uint32_t alignment,
                                       std::chrono::milliseconds patience) {
  const std::uint32_t number = handle & ((1U << kAreaShift) - 1);
  if (number == 0) {
    return nullptr;
  }
  const SharedMemory* const area = Await(handle >> kAreaShift, patience);
  const std::uint64_t offset = (number - 1) * kUnit;
  if (area == nullptr || offset >= area->size() || offset % alignment != 0) {
    return nullptr;
  }
  return area->data() + offset;
}

}  // namespace capstan::vdi
