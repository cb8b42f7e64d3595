#include "plugins/disk/medium_directory.h"

#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "plugins/disk/descriptor.h"

namespace capstan::disk {

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool LeadsTo(int directory, const std::string& name, int file) {
  struct stat held {};
  struct stat named {};
  return ::fstat(file, &held) == 0 &&
         ::fstatat(directory, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         SameFile(held, named);
}

Failure HeldBy(int fd, const std::string& path) {
  return Failure::Of(EBUSY, "medium '" + path + "' is held by " + LockHolder(fd));
}

bool IsLocked(int fd) {
  if (::flock(fd, LOCK_SH | LOCK_NB) == 0) {
    ::flock(fd, LOCK_UN);
    return false;
  }
  return errno == EWOULDBLOCK;
}

Failure LockFile(int fd, const std::string& path) {
  // Another writer of this target may be probing our lock at this very moment; that takes it
  // microseconds.
  for (int tries = 0; tries < 50; ++tries) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
      return Failure::None();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return HeldBy(fd, path);
}

Failure ForEachName(int directory, const MediumPath& path,
                    const std::function<Failure(const char* name)>& visit) {
  const int list_fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(list_fd < 0 ? nullptr : ::fdopendir(list_fd),
                                                 &::closedir);
  if (!list) {
    return Failure::Of(
        errno, "unable to list directory '" + path.directory + "' of medium '" + path.path + "'");
  }
  while (const dirent* entry = ::readdir(list.get())) {
    if (Failure failure = visit(entry->d_name); failure.failed()) {
      return failure;
    }
  }
  return Failure::None();
}

Failure CheckNoOtherWriter(int directory, const MediumPath& path, const std::string& own_name) {
  return ForEachName(directory, path, [&](const char* name) {
    if (name == own_name ||
        (!IsPartialOf(name, path.leaf) && TokenOfNote(name, path.leaf).empty())) {
      return Failure::None();
    }
    const Descriptor other(::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    return other.valid() && IsLocked(other.get()) ? HeldBy(other.get(), path.path)
                                                  : Failure::None();
  });
}

Failure OpenDirectoryOf(const MediumPath& path, Descriptor* result) {
  *result = Descriptor(::open(path.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return result->valid() ? Failure::None()
                         : Failure::Of(errno, "unable to open directory '" + path.directory +
                                                  "' for medium '" + path.path + "'");
}

Failure CheckSameDirectory(int directory, const MediumPath& path) {
  struct stat held {};
  struct stat named {};
  if (::fstat(directory, &held) != 0 || ::stat(path.directory.c_str(), &named) != 0) {
    return Failure::Of(errno,
                       "directory '" + path.directory + "' of medium '" + path.path + "' is gone");
  }
  return SameFile(held, named)
             ? Failure::None()
             : Failure::Of(ESTALE, "directory '" + path.directory + "' of medium '" + path.path +
                                       "' is no longer the one that was opened");
}

Failure SyncDirectory(int directory, const MediumPath& path) {
  return ::fsync(directory) == 0
             ? Failure::None()
             : Failure::Of(errno, "unable to make the name of medium '" + path.path + "' durable");
}

}  // namespace capstan::disk
