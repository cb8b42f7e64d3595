// BufferPool: all transfer buffers of a device set, in one area or in several.
//
// Areas are added and never removed; each has the index by which commands name it.
// Threads: any; Find takes no lock, so that a sender never waits for who allocates.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/buffer_area.h"
#include "vdi/segment_layout.h"

namespace capstan::vdi {

class BufferPool {
 public:
  // The index of the new area. kResourceExhausted: there are kBufferAreasMax.
  Result<std::uint32_t> Add(std::unique_ptr<BufferArea> area);

  // The smallest free buffer that serves. kResourceExhausted: none is free, or was ever requested.
  Result<std::byte*> Allocate(std::uint32_t size, std::uint32_t alignment);
  // How many Allocate could give out.
  std::uint32_t Available(std::uint32_t size, std::uint32_t alignment) const;
  // kInvalidArgument: not the data start of a buffer that is taken.
  Status Free(std::byte* data);

  struct Place {
    std::uint32_t area;
    std::uint64_t offset;  // of the data, from the start of its area
    std::uint32_t size;    // data bytes of the buffer
  };
  std::optional<Place> Find(const std::byte* data) const;
  bool Contains(const std::byte* address) const;

  std::uint32_t area_count() const { return count_.load(std::memory_order_acquire); }
  const BufferArea& area(std::uint32_t index) const { return *areas_[index]; }
  std::uint64_t size() const;  // bytes of all areas
  // REQUIRES: nobody uses the buffers any more.
  void Clear();

 private:
  struct Choice {
    BufferClass shape;
    BufferArea* area;
    std::size_t class_index;
  };

  BufferArea* AreaOf(const std::byte* address) const;

  // SYNC(pool-area), as SYNC(area-added): what lies below the count does not change.
  std::atomic<std::uint32_t> count_{0};
  std::array<std::unique_ptr<BufferArea>, kBufferAreasMax> areas_;

  mutable Mutex mutex_;
  std::vector<Choice> choices_ CAPSTAN_GUARDED_BY(mutex_);  // the smallest first
};

}  // namespace capstan::vdi
