#include "server/writers/postgres/file_feed.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include "vdi/base/thread.h"

namespace capstan::writers {
namespace {

std::string Join(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

std::int64_t BornUnixMicroseconds(const struct statx& info) {
  return (info.stx_mask & STATX_BTIME) != 0
             ? info.stx_btime.tv_sec * 1'000'000 + info.stx_btime.tv_nsec / 1000
             : 0;
}

}  // namespace

Result<std::unique_ptr<FileFeed>> FileFeed::Start(Options options) {
  std::unique_ptr<FileFeed> feed(new FileFeed(std::move(options)));
  CAPSTAN_ASSIGN_OR_RETURN(
      feed->thread_,
      StartThread("the files of a volume", [raw = feed.get()]() noexcept { raw->Work(); }));
  return feed;
}

FileFeed::FileFeed(Options options) : options_(std::move(options)) {
  if (options_.changes) {
    scan_.emplace(*options_.changes);
  }
}

FileFeed::~FileFeed() {
  MutexLock lock(mutex_);
  ending_ = true;
  changed_.NotifyAll();
}

Result<std::optional<FileStretch>> FileFeed::Next() {
  MutexLock lock(mutex_);
  while (ahead_.empty() && !done_) {
    changed_.Wait(mutex_);
  }
  if (ahead_.empty()) {
    CAPSTAN_RETURN_IF_ERROR(failure_);
    return std::optional<FileStretch>();
  }
  std::optional<FileStretch> stretch(std::move(ahead_.front()));
  ahead_.pop_front();
  // Woken once per half, not per stretch, so that it runs for a while.
  if (ahead_.size() == kAheadMax / 2) {
    changed_.NotifyAll();
  }
  return stretch;
}

ClusterManifest FileFeed::TakeManifest() {
  MutexLock lock(mutex_);
  CAPSTAN_CHECK(done_);
  return std::move(manifest_);
}

void FileFeed::Work() {
  Status status;
  for (const Source& source : options_.sources) {
    status = FeedPlace(source);
    if (!status.ok()) {
      break;
    }
  }
  MutexLock lock(mutex_);
  failure_ = std::move(status);
  done_ = true;
  changed_.NotifyAll();
}

Status FileFeed::Push(FileStretch stretch) {
  MutexLock lock(mutex_);
  while (ahead_.size() >= kAheadMax && !ending_) {
    changed_.Wait(mutex_);
  }
  if (ending_) {
    return Error(Code::kCancelled, "nobody wants the rest");
  }
  ahead_.push_back(std::move(stretch));
  if (ahead_.size() == 1) {
    changed_.NotifyAll();
  }
  return OkStatus();
}

Status FileFeed::FeedPlace(const Source& source) {
  for (const ClusterFolder& folder : *source.folders) {
    if (!folder.path.empty()) {
      manifest_.directories.push_back(
          {.place = source.place_index, .mode = folder.mode, .path = folder.path});
    }
    if (!folder.files.empty()) {
      CAPSTAN_RETURN_IF_ERROR(FeedFolder(source, folder));
    }
  }
  return OkStatus();
}

Status FileFeed::FeedFolder(const Source& source, const ClusterFolder& folder) {
  const std::string path = folder.path.empty() ? "." : folder.path;
  const UniqueFd folder_fd(::openat(source.place->fd.get(), path.c_str(),
                                    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!folder_fd.valid() && errno != ENOENT) {
    return OsError(errno, Join(source.place->root, folder.path));
  }
  for (const ClusterFile& leaf : folder.files) {
    const KeptFiles::File* const kept =
        options_.kept != nullptr ? options_.kept->Find(leaf) : nullptr;
    if (kept != nullptr && kept->whole) {
      manifest_.files.push_back({.place = source.place_index,
                                 .mode = kept->whole->mode,
                                 .path = Join(folder.path, leaf.name),
                                 .size_bytes = kept->whole->size_bytes});
      continue;
    }
    std::shared_ptr<BackupFile> file;
    if (folder_fd.valid()) {
      CAPSTAN_ASSIGN_OR_RETURN(file, OpenFile(source, folder, leaf, folder_fd.get()));
    }
    if (file == nullptr) {
      manifest_.vanished.push_back(
          {.place = source.place_index, .path = Join(folder.path, leaf.name)});
      continue;
    }
    manifest_.files.push_back({.place = source.place_index,
                               .mode = file->mode,
                               .path = file->path,
                               .size_bytes = file->size_bytes});
    CAPSTAN_RETURN_IF_ERROR(kept != nullptr ? FeedRest(file, kept->ranges)
                                            : FeedFile(file, folder));
  }
  return OkStatus();
}

Result<std::shared_ptr<BackupFile>> FileFeed::OpenFile(const Source& source,
                                                       const ClusterFolder& folder,
                                                       const ClusterFile& leaf, int folder_fd) {
  auto file = std::make_shared<BackupFile>();
  file->place = source.place_index;
  file->path = Join(folder.path, leaf.name);
  file->physical_name = Join(source.place->root, file->path);
  file->relation = leaf.relation;
  file->fd.Reset(::openat(folder_fd, leaf.name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file->fd.valid()) {
    if (errno == ENOENT) {
      return std::shared_ptr<BackupFile>();
    }
    return OsError(errno, file->physical_name);
  }
  struct statx info {};
  if (::statx(file->fd.get(), "", AT_EMPTY_PATH, STATX_SIZE | STATX_MODE | STATX_BTIME, &info) !=
      0) {
    return OsError(errno, file->physical_name);
  }
  file->mode = static_cast<std::uint16_t>(info.stx_mode & 07777);
  file->size_bytes = info.stx_size;
  file->born_unix_us = BornUnixMicroseconds(info);
  if (file->size_bytes == 0) {
    file->fd.Reset();
  } else {
    file->page_cache.emplace(file->fd.get(), file->size_bytes, options_.drop_page_cache_behind);
  }
  return file;
}

Status FileFeed::FeedFile(const std::shared_ptr<BackupFile>& file, const ClusterFolder& folder) {
  const bool compare =
      options_.changes && file->relation && folder.relations_of && file->size_bytes > 0 &&
      options_.changes->CanCompare(*file->relation, *folder.relations_of, file->born_unix_us);
  if (compare) {
    return FeedChangedPages(file);
  }
  return Push({.file = file, .offset = 0, .length = file->size_bytes});
}

// An empty file that was kept is in the backup as it is.
Status FileFeed::FeedRest(const std::shared_ptr<BackupFile>& file, const ByteRanges& kept) {
  if (file->page_cache) {
    file->page_cache->PassOver(kept);
  }
  ByteRanges::Range rest{0, file->size_bytes};
  while (const auto stretch = kept.NextGap(rest)) {
    CAPSTAN_RETURN_IF_ERROR(
        Push({.file = file, .offset = stretch->begin, .length = stretch->end - stretch->begin}));
    rest.begin = stretch->end;
  }
  return OkStatus();
}

Status FileFeed::FeedChangedPages(const std::shared_ptr<BackupFile>& file) {
  const std::uint64_t page_bytes = options_.changes->page_bytes();
  const std::uint64_t whole = file->size_bytes / page_bytes * page_bytes;
  PageCacheGuard& page_cache = *file->page_cache;
  CAPSTAN_RETURN_IF_ERROR(
      Annotate(scan_->Run({.fd = file->fd.get(),
                           .size_bytes = whole,
                           .before_read = [&](std::uint64_t end) { page_cache.Advance(end - 1); }},
                          [&](const PageScan::Part& part) { return FeedPart(file, part); }),
               file->physical_name));
  if (whole == file->size_bytes) {
    return OkStatus();
  }
  return Push({.file = file, .offset = whole, .length = file->size_bytes - whole});
}

Status FileFeed::FeedPart(const std::shared_ptr<BackupFile>& file, const PageScan::Part& part) {
  std::uint64_t done = 0;  // of its bytes
  for (const PageChanges::Run& run : part.runs) {
    file->page_cache->Done(part.offset + done, run.offset - done);
    done = run.offset + run.length;
    if (run.zeros) {
      file->page_cache->Done(part.offset + run.offset, run.length);
    }
    CAPSTAN_RETURN_IF_ERROR(Push({.file = file,
                                  .offset = part.offset + run.offset,
                                  .length = run.length,
                                  .zeros = run.zeros}));
  }
  file->page_cache->Done(part.offset + done, part.length - done);
  return OkStatus();
}

}  // namespace capstan::writers
