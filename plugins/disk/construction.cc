#include "plugins/disk/construction.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <thread>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace capstan::disk {
namespace {

constexpr char kTokenAttribute[] = "user.capstan.token";
constexpr mode_t kMediumMode = 0640;

bool SameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

Failure HeldBy(int fd, const std::string& path) {
  return Failure::Of(EBUSY, "medium '" + path + "' is held by " + LockHolder(fd));
}

// Whether someone else has locked the file. A file system without locks counts as not locked.
bool IsLocked(int fd) {
  if (::flock(fd, LOCK_SH | LOCK_NB) == 0) {
    ::flock(fd, LOCK_UN);
    return false;
  }
  return errno == EWOULDBLOCK;
}

enum class Owner { kUs, kSomeoneElse, kUnknown };

Owner OwnerOf(int fd, const std::string& token) {
  char value[65];
  const ssize_t size = ::fgetxattr(fd, kTokenAttribute, value, sizeof(value));
  if (size < 0) {
    return errno == ENODATA ? Owner::kSomeoneElse : Owner::kUnknown;
  }
  return std::string_view(value, static_cast<std::size_t>(size)) == token ? Owner::kUs
                                                                          : Owner::kSomeoneElse;
}

// Gives the file behind `partial` the name `leaf`, which must be free.
int RenameToFreeName(int directory, const std::string& partial, const std::string& leaf) {
  if (::renameat2(directory, partial.c_str(), directory, leaf.c_str(), RENAME_NOREPLACE) == 0) {
    return 0;
  }
  if (errno != EINVAL && errno != ENOSYS) {
    return errno;
  }
  // A file system without RENAME_NOREPLACE (NFS, old FUSE): a hard link refuses a taken name too.
  if (::linkat(directory, partial.c_str(), directory, leaf.c_str(), 0) == 0) {
    return ::unlinkat(directory, partial.c_str(), 0) == 0 ? 0 : errno;
  }
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) {
    return errno;
  }
  // Nor hard links (vfat, some network shares): claim the name, then replace our own claim.
  const Descriptor claim(
      ::openat(directory, leaf.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMediumMode));
  if (!claim.valid()) {
    return errno;
  }
  return ::renameat(directory, partial.c_str(), directory, leaf.c_str()) == 0 ? 0 : errno;
}

}  // namespace

Failure Construction::Begin(const MediumPath& path, const std::string& token, NameTaken name_taken,
                            std::unique_ptr<Construction>* result) {
  if (!IsToken(token)) {
    return Failure::Of(EINVAL, "token '" + token + "' for medium '" + path.path +
                                   "' is not 1 to 64 letters, digits and '-'");
  }
  std::unique_ptr<Construction> construction(new Construction(path, token, name_taken));
  for (auto step : {&Construction::OpenDirectory, &Construction::CreatePartial}) {
    if (Failure failure = (construction.get()->*step)(); failure.failed()) {
      return failure;
    }
  }
  if (Failure failure = construction->CheckNoOtherWriter(); failure.failed()) {
    ::unlinkat(construction->directory_.get(), construction->partial_.c_str(), 0);
    return failure;
  }
  *result = std::move(construction);
  return Failure::None();
}

Failure Construction::OpenDirectory() {
  directory_ = Descriptor(::open(path_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.valid()) {
    return Failure::Of(errno, "unable to open directory '" + path_.directory + "' for medium '" +
                                  path_.path + "'");
  }
  return CheckTarget();
}

Failure Construction::CheckTarget() const {
  struct stat status {};
  if (::fstatat(directory_.get(), path_.leaf.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? Failure::None() : Failure::Unable(errno, "look up", path_.path);
  }
  if (name_taken_ == NameTaken::kRefuse) {
    return Failure::Unable(EEXIST, "create", path_.path);
  }
  // Whoever holds the old medium exclusively would go on with a file that no longer has a name.
  const Descriptor old(
      ::openat(directory_.get(), path_.leaf.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  return old.valid() && IsLocked(old.get()) ? HeldBy(old.get(), path_.path) : Failure::None();
}

Failure Construction::CreatePartial() {
  file_ = Descriptor(::openat(directory_.get(), partial_.c_str(),
                              O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kMediumMode));
  if (!file_.valid() && errno == EEXIST) {
    return Failure::Of(EEXIST, "medium '" + path_.path + "' is already under construction as '" +
                                   partial_path() + "'");
  }
  if (!file_.valid()) {
    return Failure::Unable(errno, "create", path_.path);
  }
  // Not every file system has user attributes; recovery then goes by name alone.
  ::fsetxattr(file_.get(), kTokenAttribute, token_.data(), token_.size(), 0);
  Failure failure = LockPartial();
  if (failure.failed()) {
    ::unlinkat(directory_.get(), partial_.c_str(), 0);
  }
  return failure;
}

Failure Construction::LockPartial() {
  // Another writer of this target may be probing our lock at this very moment; that takes it
  // microseconds. A file system without locks leaves us without this protection, not without
  // backup.
  for (int tries = 0; tries < 50; ++tries) {
    if (::flock(file_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
      return Failure::None();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return HeldBy(file_.get(), path_.path);
}

Failure Construction::CheckNoOtherWriter() const {
  const int list_fd = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> list(list_fd < 0 ? nullptr : ::fdopendir(list_fd),
                                                 &::closedir);
  if (!list) {
    return Failure::Of(
        errno, "unable to list directory '" + path_.directory + "' of medium '" + path_.path + "'");
  }
  while (const dirent* entry = ::readdir(list.get())) {
    if (entry->d_name == partial_ || !IsPartialOf(entry->d_name, path_.leaf)) {
      continue;
    }
    const Descriptor other(
        ::openat(directory_.get(), entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (other.valid() && IsLocked(other.get())) {
      return HeldBy(other.get(), path_.path);
    }
  }
  return Failure::None();
}

Failure Construction::CheckPresence() const {
  struct stat held {};
  struct stat named {};
  if (::fstat(directory_.get(), &held) != 0 || ::stat(path_.directory.c_str(), &named) != 0) {
    return Failure::Of(
        errno, "directory '" + path_.directory + "' of medium '" + path_.path + "' is gone");
  }
  if (!SameFile(held, named)) {
    return Failure::Of(ESTALE, "directory '" + path_.directory + "' of medium '" + path_.path +
                                   "' is no longer the one that was opened");
  }
  if (::fstat(file_.get(), &held) != 0) {
    return Failure::Unable(errno, "look at", partial_path());
  }
  const std::string& name = published_ ? path_.leaf : partial_;
  if (::fstatat(directory_.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0 ||
      !SameFile(held, named)) {
    return Failure::Of(ENOENT, "file '" + path_.directory + "/" + name +
                                   "' was removed while medium '" + path_.path +
                                   "' was being written");
  }
  return Failure::None();
}

Failure Construction::Publish() {
  if (published_) {
    return Failure::None();
  }
  if (Failure failure = CheckPresence(); failure.failed()) {
    return failure;
  }
  if (Failure failure = Rename(); failure.failed()) {
    return failure;
  }
  published_ = true;
  ::flock(file_.get(), LOCK_UN);  // nobody writes it any more: readers are welcome
  return SyncDirectory();
}

Failure Construction::Rename() {
  int os_error = 0;
  if (name_taken_ == NameTaken::kRefuse) {
    os_error = RenameToFreeName(directory_.get(), partial_, path_.leaf);
  } else if (::renameat(directory_.get(), partial_.c_str(), directory_.get(), path_.leaf.c_str()) !=
             0) {
    os_error = errno;
  }
  return os_error == 0 ? Failure::None()
                       : Failure::Unable(os_error, "give its name to", path_.path);
}

Failure Construction::SyncDirectory() const {
  return ::fsync(directory_.get()) == 0
             ? Failure::None()
             : Failure::Of(errno, "unable to make the name of medium '" + path_.path + "' durable");
}

bool Construction::FinalIsOurs() const {
  struct stat held {};
  struct stat named {};
  return ::fstat(file_.get(), &held) == 0 &&
         ::fstatat(directory_.get(), path_.leaf.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         SameFile(held, named);
}

Failure Construction::Discard() {
  if (published_ && !FinalIsOurs()) {
    return Failure::None();  // replaced by a later backup already
  }
  const std::string& name = published_ ? path_.leaf : partial_;
  if (::unlinkat(directory_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return Failure::Unable(errno, "remove what was written of", path_.path);
  }
  return SyncDirectory();
}

Failure Construction::OpenLeftOver() {
  directory_ = Descriptor(::open(path_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.valid()) {
    return Failure::Of(errno, "unable to open directory '" + path_.directory + "' for medium '" +
                                  path_.path + "'");
  }
  file_ = Descriptor(::openat(directory_.get(), partial_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (file_.valid()) {
    return LockPartial();
  }
  if (errno != ENOENT) {
    return Failure::Unable(errno, "recover", path_.path);
  }
  file_ =
      Descriptor(::openat(directory_.get(), path_.leaf.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  published_ = file_.valid();
  return file_.valid() || errno == ENOENT ? Failure::None()
                                          : Failure::Unable(errno, "recover", path_.path);
}

Failure Construction::RecoverCommit(const MediumPath& path, const std::string& token) {
  Construction left_over(path, token, NameTaken::kReplace);
  if (Failure failure = left_over.OpenLeftOver(); failure.failed()) {
    return failure;
  }
  if (!left_over.file_.valid()) {
    return Failure::Of(ENOENT, "neither medium '" + path.path + "' nor its partial '" +
                                   left_over.partial_ + "' exists");
  }
  if (left_over.published_) {
    // Without attributes (Owner::kUnknown) the name is all there is to go by.
    return OwnerOf(left_over.fd(), token) == Owner::kSomeoneElse
               ? Failure::Of(ESTALE,
                             "medium '" + path.path + "' is not the one of token '" + token + "'")
               : left_over.SyncDirectory();
  }
  struct stat status {};
  // Truncating to the same size releases what was allocated ahead.
  if (::fstat(left_over.fd(), &status) != 0 || ::ftruncate(left_over.fd(), status.st_size) != 0 ||
      ::fsync(left_over.fd()) != 0) {
    return Failure::Unable(errno, "make durable", path.path);
  }
  if (left_over.FinalIsOurs()) {
    // The crash came between the link and the unlink of RenameToFreeName. Two names of one file:
    // rename(2) would do nothing.
    ::unlinkat(left_over.directory_.get(), left_over.partial_.c_str(), 0);
    return left_over.SyncDirectory();
  }
  return left_over.Publish();
}

Failure Construction::RecoverDiscard(const MediumPath& path, const std::string& token) {
  Construction left_over(path, token, NameTaken::kReplace);
  if (Failure failure = left_over.OpenLeftOver(); failure.failed()) {
    return failure;
  }
  if (!left_over.file_.valid()) {
    return Failure::None();
  }
  // A published medium goes only if it is certainly the one that the token began.
  if (left_over.published_ && OwnerOf(left_over.fd(), token) != Owner::kUs) {
    return Failure::None();
  }
  if (!left_over.published_ && left_over.FinalIsOurs()) {
    ::unlinkat(left_over.directory_.get(), left_over.path_.leaf.c_str(), 0);
  }
  return left_over.Discard();
}

}  // namespace capstan::disk
