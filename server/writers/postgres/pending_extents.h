// PendingExtents: what a backup has cut and not yet read to its end, and so where each extent lies
// in the virtual file of its bundle.
//
// Threads: Reserve from any, before the first Add; Add, of one file, from one thread; Read from
// any.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "server/writers/chain.h"
#include "server/writers/database_writer.h"
#include "server/writers/postgres/extent_plan.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::writers {

class PendingExtents {
 public:
  explicit PendingExtents(std::size_t file_count) : ends_(file_count) {}

  // What stands in the file in front of `end` is of another backup, that this one goes on with.
  void Reserve(std::uint32_t file_index, std::uint64_t end) CAPSTAN_EXCLUDES(mutex_);
  // Gives the extent its place: behind all others of the file, and what was reserved.
  Extent Add(std::uint32_t file_index, ExtentPlan plan) CAPSTAN_EXCLUDES(mutex_);
  // An extent or a part of one. Its files are closed once all of it was read.
  // kInvalidArgument: these bytes are of no extent, or were read.
  Status Read(const Extent& extent, std::span<std::byte> target,
              const ExtentPlan::Verification& verification) CAPSTAN_EXCLUDES(mutex_);
  // How long the virtual file is. REQUIRES: nobody adds to it
  std::uint64_t size_bytes(std::size_t file_index) const { return ends_[file_index]; }

 private:
  using Key = std::pair<std::uint32_t, std::uint64_t>;  // file index, offset
  struct Pending {
    std::shared_ptr<const ExtentPlan> plan;  // shared: several threads may read pieces of it
    std::uint32_t unread_bytes = 0;
  };

  // The extent in which the byte may lie; its plan is null if there is none.
  std::pair<Key, std::shared_ptr<const ExtentPlan>> Find(const Key& byte) CAPSTAN_EXCLUDES(mutex_);
  void CountRead(const Key& begin, std::uint32_t length) CAPSTAN_EXCLUDES(mutex_);

  std::vector<std::uint64_t> ends_;  // each of the thread that adds to it; before, under mutex_
  Mutex mutex_;
  std::map<Key, Pending> pending_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
