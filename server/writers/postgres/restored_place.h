// RestoredPlace: a data directory or a tablespace's folder into which a restore writes, without
// writing what is there already, and without ever leaving it by a link.
//
// A place that was empty has nothing to compare with: there, all but small parts go past the page
// cache, by a queue that the restore has for that.
//
// Threads: Write and ReadBack from any, several at once for different bytes; Sync from one, while
// others write; the rest from one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "server/writers/direct_write_queue.h"
#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/cluster_place.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class RestoredPlace {
 public:
  // The folder is created if need be; it becomes the owner's, 0700.
  // `queue`: null to compare what is there; otherwise it outlives the place, and is drained before
  // anything but Write and Sync is called.
  static Result<RestoredPlace> Open(const std::string& root, const FileOwner& owner,
                                    DirectWriteQueue* queue = nullptr);
  RestoredPlace(RestoredPlace&& other) noexcept;

  const std::string& root() const { return root_; }

  // These bytes are at their place in the file afterwards, which is created with its folders.
  Status Write(const BundlePart& part) CAPSTAN_EXCLUDES(mutex_);
  // What Write put there, into `target` (of entry.payload_length() bytes). False: it is not there
  // any more, or not as it was; then nothing that is in `target` counts.
  Result<bool> ReadBack(const BundleEntry& entry, std::span<std::byte> target) const;
  // Makes durable what Write has returned for, also what was there already, and the folders that
  // lead to it. Writes do not wait for it. What it failed for is tried again by the next one.
  Status Sync() CAPSTAN_EXCLUDES(mutex_);
  // The file exists, is `size` bytes long, and has `mode`.
  Status Finish(std::string_view path, std::uint64_t size, std::uint16_t mode);
  Status MakeFolder(std::string_view path, std::uint16_t mode);
  // Removes every file and folder below `below` (empty: the root) that `is_wanted` does not name;
  // what is in a folder that is not wanted goes with it. Paths are relative to the root. Does not
  // look into a folder of which `is_left_alone` says so.
  struct Keep {
    std::function<bool(const std::string& path)> is_wanted;
    std::function<bool(const std::string& path)> is_left_alone;
  };
  Status RemoveOthers(const std::string& below, const Keep& keep);

  std::uint64_t taken_bytes() const { return taken_bytes_; }
  std::uint64_t written_bytes() const { return written_bytes_; }  // the rest was there already

  // What a queue is to say of a file that cannot be written.
  static Status ExplainUnwritable(const FilledFile& file, const Status& why);

 private:
  RestoredPlace(std::string root, const FileOwner& owner, UniqueFd fd, DirectWriteQueue* queue)
      : root_(std::move(root)), owner_(owner), fd_(std::move(fd)), queue_(queue) {}

  Result<UniqueFd> OpenFile(const std::string& path, std::uint16_t mode);
  void NoteUnsynced(const std::string& path) CAPSTAN_EXCLUDES(mutex_);
  Status SyncPaths(const std::set<std::string>& paths) const;
  Status MakeParents(std::string_view path);
  Status WriteBytes(int fd, std::uint64_t offset, std::span<const std::byte> bytes,
                    std::uint64_t size);
  Status WriteZeros(int fd, std::uint64_t offset, std::uint64_t length, std::uint64_t size);

  std::string root_;
  FileOwner owner_;
  UniqueFd fd_;
  DirectWriteQueue* queue_;
  std::atomic<std::uint64_t> taken_bytes_{0};
  std::atomic<std::uint64_t> written_bytes_{0};

  Mutex mutex_;
  // Files written to since the last Sync. Not kept once they are so many that the whole file system
  // is synced sooner than each of them.
  std::set<std::string> unsynced_ CAPSTAN_GUARDED_BY(mutex_);
  // As at first: the folder itself may be new.
  bool sync_all_ CAPSTAN_GUARDED_BY(mutex_) = true;
};

}  // namespace capstan::writers
