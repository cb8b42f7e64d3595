// What MemoryWriter's databases are made of, and the check of what came back of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "server/writers/database_writer.h"
#include "vdi/base/mutex.h"

namespace capstan::test {

// Noise, the same for the same seed.
inline std::vector<std::byte> MemoryPattern(std::size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  std::uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;
  for (std::size_t i = 0; i < size; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    bytes[i] = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

// Finds `bad_pages`, of 4096 bytes, from 1, among what came back of the first file. What is missed
// goes to `missed`. Both outlive it.
class MemoryPageCheck final : public writers::PageCheck {
 public:
  MemoryPageCheck(writers::DatabaseFile file, const std::set<std::uint64_t>& bad_pages,
                  std::vector<writers::Extent>& missed, writers::PageErrorHandler on_page_error)
      : file_(std::move(file)),
        bad_pages_(bad_pages),
        missed_(missed),
        on_page_error_(std::move(on_page_error)) {}

  Status Take(const writers::Extent& extent, std::span<const std::byte> bytes) override {
    MutexLock lock(mutex_);
    for (const std::uint64_t page : bad_pages_) {
      const std::uint64_t begin = (page - 1) * 4096;
      if (extent.file_index == 0 && begin >= extent.offset &&
          begin < extent.offset + bytes.size()) {
        found_.insert(page);
      }
    }
    return OkStatus();
  }
  void Miss(std::uint32_t file_index, std::uint64_t offset, std::uint64_t length) override {
    missed_.push_back(
        {.file_index = file_index, .offset = offset, .length = static_cast<std::uint32_t>(length)});
  }
  Status Finish() override {
    MutexLock lock(mutex_);
    for (const std::uint64_t page : found_) {
      CAPSTAN_RETURN_IF_ERROR(on_page_error_({.file_id = file_.file_id,
                                              .page = page,
                                              .file = file_.physical_name,
                                              .cause = "planned bad page"}));
    }
    return OkStatus();
  }

 private:
  const writers::DatabaseFile file_;
  const std::set<std::uint64_t>& bad_pages_;
  std::vector<writers::Extent>& missed_;
  const writers::PageErrorHandler on_page_error_;
  Mutex mutex_;
  std::set<std::uint64_t> found_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::test
