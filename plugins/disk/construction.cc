#include "plugins/disk/construction.h"

#include <cerrno>
#include <cstdio>
#include <limits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "plugins/disk/append_note.h"
#include "plugins/disk/append_record.h"
#include "plugins/disk/appending.h"
#include "plugins/disk/end_record.h"
#include "plugins/disk/medium_directory.h"

namespace capstan::disk {
namespace {

constexpr char kTokenAttribute[] = "user.capstan.token";
constexpr mode_t kMediumMode = 0640;

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

// Whether somebody appends to the medium, or has done so.
bool WasAppendedTo(int directory, const MediumPath& path, int medium) {
  std::vector<FoundNote> notes;
  return FindNotes(directory, path, &notes).failed() || !notes.empty() ||
         !ReadAppendRecords(medium).empty();
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
  if (Failure failure =
          CheckNoOtherWriter(construction->directory_.get(), path, construction->partial_);
      failure.failed()) {
    ::unlinkat(construction->directory_.get(), construction->partial_.c_str(), 0);
    return failure;
  }
  *result = std::move(construction);
  return Failure::None();
}

Failure Construction::Resume(const MediumPath& path, const std::string& token, NameTaken name_taken,
                             std::unique_ptr<Construction>* result) {
  if (!IsToken(token)) {
    return Failure::Of(EINVAL, "token '" + token + "' cannot be one of ours");
  }
  std::unique_ptr<Construction> construction(new Construction(path, token, name_taken));
  // First: a name that is taken by what the token itself has completed is no EEXIST.
  Failure failure = construction->OpenPartial();
  if (!failure.failed()) {
    failure = construction->CheckTarget();
  }
  if (!failure.failed()) {
    failure = CheckNoOtherWriter(construction->directory_.get(), path, construction->partial_);
  }
  if (!failure.failed()) {
    failure = construction->TakeOver();
  }
  if (!failure.failed()) {
    *result = std::move(construction);
  }
  return failure;
}

// Locked from here on.
Failure Construction::OpenPartial() {
  if (Failure failure = OpenDirectoryOf(path_, &directory_); failure.failed()) {
    return failure;
  }
  file_ = Descriptor(::openat(directory_.get(), partial_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!file_.valid()) {
    return errno == ENOENT ? NothingLeft() : Failure::Unable(errno, "go on with", path_.path);
  }
  if (Failure failure = LockFile(file_.get(), path_.path); failure.failed()) {
    return failure;
  }
  // Its last owner may have ended it before we had the lock; one with both names is recovery's.
  return !LeadsTo(directory_.get(), partial_, file_.get()) || FinalIsOurs() ? NothingLeft()
                                                                            : Failure::None();
}

Failure Construction::NothingLeft() const {
  const std::string nothing =
      "nothing of medium '" + path_.path + "' is under construction that could be gone on with: ";
  const Descriptor medium(
      ::openat(directory_.get(), path_.leaf.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const bool published = medium.valid() && OwnerOf(medium.get(), token_) == Owner::kUs;
  if (published || (file_.valid() && FinalIsOurs())) {
    return Failure::Of(ENOENT, nothing + "token '" + token_ + "' has completed it");
  }
  if (::faccessat(directory_.get(), NoteName(path_.leaf, token_).c_str(), F_OK, 0) == 0 ||
      Appending::HasAppended(path_, token_)) {
    return Failure::Of(ENOENT, nothing + "token '" + token_ + "' has appended to it");
  }
  return Failure::Of(ENOENT, nothing + "'" + file_path() + "' does not exist");
}

Failure Construction::TakeOver() {
  EndRecord record;
  bool noted = false;
  struct stat status {};
  if (Failure failure = ReadEndRecord(fd(), path_.path, token_, &record, &noted);
      failure.failed()) {
    return failure;
  }
  // A partial that was copied here has lost the attribute by which recovery knows it.
  ::fsetxattr(fd(), kTokenAttribute, token_.data(), token_.size(), 0);
  if (noted) {
    left_size_ = record.place;
    return CutTo(left_size_);
  }
  if (::fstat(fd(), &status) != 0) {
    return Failure::Unable(errno, "look at", path_.path);
  }
  left_size_ = status.st_size;
  return Failure::None();
}

Failure Construction::CutTo(std::int64_t size) {
  return ::ftruncate(fd(), size) == 0 ? Failure::None()
                                      : Failure::Unable(errno, "set the end of", path_.path);
}

Failure Construction::NoteEnd(std::int64_t end) {
  if (published_) {
    return Failure::None();
  }
  if (end < left_size_) {
    noted_ = true;
    const std::int64_t place = PlaceOfEndRecord(left_size_);
    return WriteEndRecord(fd(), path_.path, token_, {.end = end, .place = place});
  }
  if (!noted_) {
    return Failure::None();
  }
  // All that was left is written over: the size of the file tells the end again.
  Failure failure = CutTo(end);
  noted_ = failure.failed();
  return failure;
}

std::int64_t Construction::read_end() const {
  return noted_ ? PlaceOfEndRecord(left_size_) : std::numeric_limits<std::int64_t>::max();
}

Failure Construction::OpenDirectory() {
  Failure failure = OpenDirectoryOf(path_, &directory_);
  return failure.failed() ? failure : CheckTarget();
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
                                   file_path() + "'");
  }
  if (!file_.valid()) {
    return Failure::Unable(errno, "create", path_.path);
  }
  // Not every file system has user attributes; recovery then goes by name alone.
  ::fsetxattr(file_.get(), kTokenAttribute, token_.data(), token_.size(), 0);
  Failure failure = LockFile(file_.get(), path_.path);
  if (failure.failed()) {
    ::unlinkat(directory_.get(), partial_.c_str(), 0);
  }
  return failure;
}

Failure Construction::CheckPresence() const {
  if (Failure failure = CheckSameDirectory(directory_.get(), path_); failure.failed()) {
    return failure;
  }
  const std::string& name = published_ ? path_.leaf : partial_;
  if (!LeadsTo(directory_.get(), name, file_.get())) {
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
  // What was begun on the old medium and never settled went with it. Should a crash come before the
  // notes go: they do not fit the new medium, and are ignored.
  if (Failure failure = RemoveNotes(directory_.get(), path_); failure.failed()) {
    return failure;
  }
  ::flock(file_.get(), LOCK_UN);  // nobody writes it any more: readers are welcome
  return SyncDirectory(directory_.get(), path_);
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

bool Construction::FinalIsOurs() const {
  return LeadsTo(directory_.get(), path_.leaf, file_.get());
}

Failure Construction::Discard() {
  if (published_ && !FinalIsOurs()) {
    return Failure::None();  // replaced by a later backup already
  }
  if (published_ && WasAppendedTo(directory_.get(), path_, file_.get())) {
    return Failure::None();  // continued by a later backup already
  }
  const std::string& name = published_ ? path_.leaf : partial_;
  if (::unlinkat(directory_.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return Failure::Unable(errno, "remove what was written of", path_.path);
  }
  return SyncDirectory(directory_.get(), path_);
}

Failure Construction::OpenLeftOver() {
  if (Failure failure = OpenDirectoryOf(path_, &directory_); failure.failed()) {
    return failure;
  }
  file_ = Descriptor(::openat(directory_.get(), partial_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (file_.valid()) {
    return LockFile(file_.get(), path_.path);
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

Failure Construction::CutToNotedEnd() {
  EndRecord record;
  bool noted = false;
  struct stat status {};
  if (Failure failure = ReadEndRecord(fd(), path_.path, token_, &record, &noted);
      failure.failed()) {
    return failure;
  }
  if (::fstat(fd(), &status) != 0) {
    return Failure::Unable(errno, "look at", path_.path);
  }
  // Truncating to the same size releases what was allocated ahead.
  return CutTo(noted ? record.end : status.st_size);
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
               : SyncDirectory(left_over.directory_.get(), path);
  }
  if (Failure failure = left_over.CutToNotedEnd(); failure.failed()) {
    return failure;
  }
  if (::fsync(left_over.fd()) != 0) {
    return Failure::Unable(errno, "make durable", path.path);
  }
  if (left_over.FinalIsOurs()) {
    // The crash came between the link and the unlink of RenameToFreeName. Two names of one file:
    // rename(2) would do nothing.
    ::unlinkat(left_over.directory_.get(), left_over.partial_.c_str(), 0);
    return SyncDirectory(left_over.directory_.get(), path);
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
