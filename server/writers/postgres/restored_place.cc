#include "server/writers/postgres/restored_place.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/writers/positioned_io.h"

namespace capstan::writers {
namespace {

constexpr std::size_t kCompareBytes = 64 << 10;
// Opening a file for direct I/O costs as much as copying so much into the page cache.
constexpr std::size_t kDirectBytesMin = 128 << 10;
constexpr std::uint64_t kGrowBytesMax = 64 << 20;
// Each costs a commit of the file system's journal at worst. Segments of large relations are fewer
// between two checkpoints, and then other programs' files are left alone.
constexpr std::size_t kSyncedFilesMax = 32;
constexpr std::uint16_t kFileModes = 0640;  // a cluster may let its group read
constexpr std::uint16_t kFolderModes = 0750;

// Below `directory`, through no link.
int OpenBelow(int directory, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  return static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof(how)));
}

Status Unwritable(const std::string& path, int os_error) {
  return SqlError(65006, path, OsErrorText(os_error)).WithOsError(os_error);
}

mode_t FileMode(std::uint16_t mode) {
  return static_cast<mode_t>((mode & kFileModes) | S_IRUSR | S_IWUSR);
}

// Direct writes that make a file longer wait for each other. So it grows by an eighth at a time, of
// which Finish takes back what was too much. Where that cannot be, writing is slower, no more.
void GrowAhead(int fd, std::uint64_t size, std::uint64_t end) {
  if (end > size) {
    const std::uint64_t wanted = end + std::min(end / 8, kGrowBytesMax);
    ::fallocate(fd, 0, static_cast<off_t>(size), static_cast<off_t>(wanted - size));
  }
}

bool IsZero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte value) { return value == std::byte{0}; });
}

Result<bool> HoldsZeros(int fd, std::uint64_t begin, std::uint64_t end) {
  std::array<std::byte, kCompareBytes> there;
  for (std::uint64_t at = begin; at < end; at += there.size()) {
    const auto found = std::span(there).first(std::min<std::uint64_t>(there.size(), end - at));
    CAPSTAN_RETURN_IF_ERROR(ReadOrZero(fd, at, found));
    if (!IsZero(found)) {
      return false;
    }
  }
  return true;
}

}  // namespace

RestoredPlace::RestoredPlace(RestoredPlace&& other) noexcept
    : root_(std::move(other.root_)),
      owner_(other.owner_),
      fd_(std::move(other.fd_)),
      queue_(other.queue_),
      taken_bytes_(other.taken_bytes_.load()),
      written_bytes_(other.written_bytes_.load()) {}  // nothing was written yet: all is synced

Result<RestoredPlace> RestoredPlace::Open(const std::string& root, const FileOwner& owner,
                                          DirectWriteQueue* queue) {
  CAPSTAN_RETURN_IF_ERROR(MakeDirectories(root, owner));
  UniqueFd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || (::geteuid() == 0 && ::fchown(fd.get(), owner.user, owner.group) != 0) ||
      ::fchmod(fd.get(), S_IRWXU) != 0) {
    return Unwritable(root, errno);
  }
  return RestoredPlace(root, owner, std::move(fd), queue);
}

Status RestoredPlace::MakeParents(std::string_view path) {
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    CAPSTAN_RETURN_IF_ERROR(MakeFolder(path.substr(0, slash), S_IRWXU));
  }
  return OkStatus();
}

Status RestoredPlace::MakeFolder(std::string_view path, std::uint16_t mode) {
  const std::string folder(path);
  if (::mkdirat(fd_.get(), folder.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    if (errno == ENOENT) {
      CAPSTAN_RETURN_IF_ERROR(MakeParents(path));
      return MakeFolder(path, mode);
    }
    return Unwritable(root_ + "/" + folder, errno);
  }
  const UniqueFd fd(OpenBelow(fd_.get(), folder, O_RDONLY | O_DIRECTORY, 0));
  if (!fd.valid() || ::fchmod(fd.get(), (mode & kFolderModes) | S_IRWXU) != 0 ||
      (::geteuid() == 0 && ::fchown(fd.get(), owner_.user, owner_.group) != 0)) {
    return Unwritable(root_ + "/" + folder, errno);
  }
  return OkStatus();
}

Result<UniqueFd> RestoredPlace::OpenFile(const std::string& path, std::uint16_t mode) {
  const mode_t bits = FileMode(mode);
  UniqueFd fd(OpenBelow(fd_.get(), path, O_RDWR | O_CREAT, bits));
  if (!fd.valid() && errno == ENOENT) {
    CAPSTAN_RETURN_IF_ERROR(MakeParents(path));
    fd.Reset(OpenBelow(fd_.get(), path, O_RDWR | O_CREAT, bits));
  }
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return Unwritable(root_ + "/" + path, errno);
  }
  const bool foreign = ::geteuid() == 0 && info.st_uid != owner_.user;
  if (!S_ISREG(info.st_mode)) {
    return Unwritable(root_ + "/" + path, EEXIST);
  }
  if ((foreign && ::fchown(fd.get(), owner_.user, owner_.group) != 0) ||
      ((info.st_mode & 07777) != bits && ::fchmod(fd.get(), bits) != 0)) {
    return Unwritable(root_ + "/" + path, errno);
  }
  return fd;
}

Status RestoredPlace::Write(const BundlePart& part) {
  const BundleEntry& entry = part.entry;
  CAPSTAN_ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(entry.path, entry.mode));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    return Unwritable(root_ + "/" + entry.path, errno);
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  taken_bytes_ += entry.length;
  Status status;
  if (entry.kind == BundleEntry::Kind::kZeros) {
    status = WriteZeros(fd.get(), entry.offset, entry.length, size);
  } else if (queue_ == nullptr || part.bytes.size() < kDirectBytesMin) {
    status = WriteBytes(fd.get(), entry.offset, part.bytes, queue_ == nullptr ? size : 0);
  } else {
    GrowAhead(fd.get(), size, entry.offset + entry.length);
    written_bytes_ += entry.length;
    CAPSTAN_RETURN_IF_ERROR(
        queue_->Write(std::make_shared<const FilledFile>(std::move(fd), root_ + "/" + entry.path),
                      entry.offset, part.bytes));
  }
  // Last: a Sync that takes note of it finds it written, or in the queue.
  NoteUnsynced(entry.path);
  return status.ok() ? status : Unwritable(root_ + "/" + entry.path, status.os_error());
}

Status RestoredPlace::ExplainUnwritable(const FilledFile& file, const Status& why) {
  return Unwritable(file.path(), why.os_error());
}

Status RestoredPlace::WriteBytes(int fd, std::uint64_t offset, std::span<const std::byte> bytes,
                                 std::uint64_t size) {
  std::array<std::byte, kCompareBytes> there;
  // A stretch of pieces that differ is written at once.
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  const auto flush = [&] {
    written_bytes_ += end - begin;
    return begin == end ? OkStatus()
                        : WriteFully(fd, offset + begin, bytes.subspan(begin, end - begin));
  };
  // Behind the end of what is there nothing can be the same.
  std::uint64_t at = 0;
  while (at < bytes.size() && offset + at < size) {
    const std::size_t length = std::min(bytes.size() - at, there.size());
    const auto wanted = bytes.subspan(at, length);
    const auto found = std::span(there).first(length);
    CAPSTAN_RETURN_IF_ERROR(ReadOrZero(fd, offset + at, found));
    const bool same =
        offset + at + length <= size && std::memcmp(found.data(), wanted.data(), length) == 0;
    if (same) {
      CAPSTAN_RETURN_IF_ERROR(flush());
      begin = at + length;
    }
    at += length;
    end = at;
  }
  end = bytes.size();
  return flush();
}

Status RestoredPlace::WriteZeros(int fd, std::uint64_t offset, std::uint64_t length,
                                 std::uint64_t size) {
  std::array<std::byte, kCompareBytes> there;
  static constexpr std::array<std::byte, kCompareBytes> kZeros{};
  // What lies behind the end is zero once the file has its size.
  const std::uint64_t end = std::min(offset + length, size);
  for (std::uint64_t at = offset; at < end; at += there.size()) {
    const auto found = std::span(there).first(std::min<std::uint64_t>(there.size(), end - at));
    CAPSTAN_RETURN_IF_ERROR(ReadOrZero(fd, at, found));
    if (!IsZero(found)) {
      CAPSTAN_RETURN_IF_ERROR(WriteFully(fd, at, std::span(kZeros).first(found.size())));
      written_bytes_ += found.size();
    }
  }
  return OkStatus();
}

void RestoredPlace::NoteUnsynced(const std::string& path) {
  const MutexLock lock(mutex_);
  if (sync_all_) {
    return;
  }
  unsynced_.insert(path);
  if (unsynced_.size() > kSyncedFilesMax) {
    unsynced_.clear();
    sync_all_ = true;
  }
}

Status RestoredPlace::Sync() {
  std::set<std::string> paths;
  bool all = false;
  {
    const MutexLock lock(mutex_);
    paths.swap(unsynced_);
    all = std::exchange(sync_all_, false);
  }
  Status status = queue_ == nullptr ? OkStatus() : queue_->Drain();
  if (!status.ok()) {
    // what is not written cannot be synced
  } else if (!all) {
    status = SyncPaths(paths);
  } else if (::syncfs(fd_.get()) != 0) {  // open since before the first write: no error escapes it
    status = Unwritable(root_, errno);
  }
  if (!status.ok()) {
    const MutexLock lock(mutex_);
    unsynced_.clear();
    sync_all_ = true;
  }
  return status;
}

Status RestoredPlace::SyncPaths(const std::set<std::string>& paths) const {
  std::set<std::string> folders;
  for (const std::string& path : paths) {
    const UniqueFd fd(OpenBelow(fd_.get(), path, O_RDONLY | O_NONBLOCK, 0));
    if (!fd.valid() || ::fsync(fd.get()) != 0) {
      return Unwritable(root_ + "/" + path, errno);
    }
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      folders.insert(path.substr(0, slash));
    }
  }
  for (const std::string& folder : folders) {
    const UniqueFd fd(OpenBelow(fd_.get(), folder, O_RDONLY | O_DIRECTORY, 0));
    if (!fd.valid() || ::fsync(fd.get()) != 0) {
      return Unwritable(root_ + "/" + folder, errno);
    }
  }
  return paths.empty() || ::fsync(fd_.get()) == 0 ? OkStatus() : Unwritable(root_, errno);
}

Result<bool> RestoredPlace::ReadBack(const BundleEntry& entry, std::span<std::byte> target) const {
  const UniqueFd fd(OpenBelow(fd_.get(), entry.path, O_RDONLY | O_NONBLOCK, 0));
  struct stat info {};
  if (!fd.valid() && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) {
    return false;
  }
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return Unwritable(root_ + "/" + entry.path, errno);
  }
  if (!S_ISREG(info.st_mode)) {
    return false;
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (entry.kind == BundleEntry::Kind::kFile && entry.offset + entry.length > size) {
    return false;
  }
  Result<bool> is_there = true;
  if (entry.kind == BundleEntry::Kind::kZeros) {
    is_there = HoldsZeros(fd.get(), entry.offset, std::min(entry.offset + entry.length, size));
  } else if (Status read = ReadOrZero(fd.get(), entry.offset, target); !read.ok()) {
    is_there = std::move(read);
  }
  return is_there.ok() ? is_there
                       : Unwritable(root_ + "/" + entry.path, is_there.status().os_error());
}

Status RestoredPlace::Finish(std::string_view path, std::uint64_t size, std::uint16_t mode) {
  const std::string name(path);
  struct stat info {};
  // Most are as they should be, and need not be opened for that.
  const bool done = ::fstatat(fd_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(info.st_mode) && static_cast<std::uint64_t>(info.st_size) == size &&
                    (info.st_mode & 07777) == FileMode(mode) &&
                    (::geteuid() != 0 || info.st_uid == owner_.user);
  if (done) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const UniqueFd fd, OpenFile(name, mode));
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return Unwritable(fmt::format("{}/{}", root_, path), errno);
  }
  return OkStatus();
}

Status RestoredPlace::RemoveOthers(const std::string& below, const Keep& keep) {
  std::error_code error;
  std::vector<std::string> names;
  const std::string folder = below.empty() ? root_ : root_ + "/" + below;
  for (std::filesystem::directory_iterator entry(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  for (const std::string& name : names) {
    const std::string path = below.empty() ? name : below + "/" + name;
    if (error || keep.is_left_alone(path)) {
      continue;
    }
    const std::string full = root_ + "/" + path;
    if (!keep.is_wanted(path)) {
      std::filesystem::remove_all(full, error);
    } else if (std::filesystem::is_directory(std::filesystem::symlink_status(full, error))) {
      CAPSTAN_RETURN_IF_ERROR(RemoveOthers(path, keep));
    }
  }
  return error ? Unwritable(folder, error.value()) : OkStatus();
}

}  // namespace capstan::writers
