// MemoryExtents: what a backup session of the memory writer has still to hand out, by volume.
// Threads: TakeOut from any, before the first Next; the rest from one per volume.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "server/writers/database_writer.h"
#include "vdi/base/mutex.h"

namespace capstan::test {

class MemoryExtents {
 public:
  void Resize(std::size_t volumes) { volumes_.resize(volumes); }
  void Add(std::uint32_t volume, std::uint32_t file, std::uint64_t offset, std::uint64_t length) {
    if (length > 0) {
      volumes_[volume].push_back(
          {.file_index = file, .offset = offset, .length = static_cast<std::uint32_t>(length)});
    }
  }
  // False: some of it is not there.
  bool TakeOut(std::uint32_t volume, const writers::Extent& extent) {
    MutexLock lock(mutex_);
    const std::uint64_t end = extent.offset + extent.length;
    std::vector<writers::Extent>& left = volumes_[volume];
    const auto around = std::find_if(left.begin(), left.end(), [&](const writers::Extent& e) {
      return e.file_index == extent.file_index && e.offset <= extent.offset &&
             end <= e.offset + e.length;
    });
    if (around == left.end()) {
      return false;
    }
    const writers::Extent whole = *around;
    left.erase(around);
    Add(volume, extent.file_index, whole.offset, extent.offset - whole.offset);
    Add(volume, extent.file_index, end, whole.offset + whole.length - end);
    return true;
  }
  std::optional<writers::Extent> Next(std::uint32_t volume, std::uint32_t length_max) {
    std::vector<writers::Extent>& left = volumes_[volume];
    if (left.empty()) {
      return std::nullopt;
    }
    writers::Extent extent = left.front();
    extent.length = std::min(extent.length, length_max);
    left.front().offset += extent.length;
    left.front().length -= extent.length;
    if (left.front().length == 0) {
      left.erase(left.begin());
    }
    return extent;
  }

 private:
  std::vector<std::vector<writers::Extent>> volumes_;
  Mutex mutex_;  // of TakeOut
};

}  // namespace capstan::test
