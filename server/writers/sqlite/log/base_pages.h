// BasePages: the hash of every page of a full backup, against which a differential backup is
// measured when the log cannot tell what changed.
//
// A file per full backup: a header, then 16 bytes per page (page_hash.h says how sure that is). A
// page that was not hashed has zeros and counts as changed.
// Threads: Note and Changed from any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/writers/sqlite/log/page_hash.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class BasePages {
 public:
  // Of a backup that begins. An id is part of a file name.
  static Result<std::shared_ptr<BasePages>> Create(const std::string& folder, const std::string& id,
                                                   std::uint32_t page_size);
  // Of a backup that was finished. kNotFound, kDataLoss.
  static Result<std::shared_ptr<BasePages>> Open(const std::string& folder, const std::string& id);
  // Every base in the folder but this one.
  static void RemoveOthers(const std::string& folder, const std::string& id);
  static void Remove(const std::string& folder, const std::string& id);

  std::uint32_t page_size() const { return page_size_; }
  // The backup holds these bytes. Pages that are there only in part are not hashed.
  Status Note(std::uint64_t offset, std::span<const std::byte> bytes);
  // Durable; from now on Open finds it.
  Status Finish();

  // Appends the numbers (from 1) of those pages in `bytes`, whole pages from page `first` on, that
  // are not as the base has them.
  Status Changed(std::uint32_t first, std::span<const std::byte> bytes,
                 std::vector<std::uint32_t>* numbers) const;

 private:
  BasePages(UniqueFd fd, std::uint64_t seed, std::uint32_t page_size)
      : fd_(std::move(fd)), seed_(seed), page_size_(page_size), hasher_(seed) {}

  const UniqueFd fd_;
  const std::uint64_t seed_;
  const std::uint32_t page_size_;
  const PageHasher hasher_;
};

}  // namespace capstan::writers
