#include "plugins/disk/appending.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/disk/append_record.h"
#include "plugins/disk/medium_directory.h"

namespace capstan::disk {
namespace {

constexpr mode_t kNoteMode = 0640;

}  // namespace

Failure Appending::Begin(const MediumPath& path, const std::string& token,
                         std::unique_ptr<Appending>* result) {
  if (!IsToken(token)) {
    return Failure::Of(EINVAL, "token '" + token + "' for medium '" + path.path +
                                   "' is not 1 to 64 letters, digits and '-'");
  }
  std::unique_ptr<Appending> appending(new Appending(path, token));
  if (Failure failure = OpenDirectoryOf(path, &appending->directory_); failure.failed()) {
    return failure;
  }
  struct stat status {};
  if (::fstatat(appending->directory_.get(), path.leaf.c_str(), &status, AT_SYMLINK_NOFOLLOW) !=
      0) {
    return Failure::Unable(errno, "append to", path.path);
  }
  if (Failure failure = appending->CreateNote(); failure.failed()) {
    return failure;
  }
  Failure failure = appending->Hold();
  if (!failure.failed()) {
    failure = appending->NoteSize();
  }
  if (failure.failed()) {
    ::unlinkat(appending->directory_.get(), appending->note_name_.c_str(), 0);
    return failure;
  }
  *result = std::move(appending);
  return Failure::None();
}

// From here on nobody else writes the medium.
Failure Appending::Hold() {
  if (Failure failure = LockFile(note_file_.get(), path_.path); failure.failed()) {
    return failure;
  }
  if (Failure failure = CheckNoOtherWriter(directory_.get(), path_, note_name_); failure.failed()) {
    return failure;
  }
  // Only now: before, a new medium might still have been renamed over the name.
  Failure failure = OpenMedium();
  return failure.failed() ? failure : CheckSettled();
}

Failure Appending::NoteSize() {
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) {
    return Failure::Unable(errno, "look at", path_.path);
  }
  note_.committed = status.st_size;
  Failure failure = WriteNote();
  // Another that began at the same time may have taken our note for an empty one of the dead.
  return failure.failed() ? failure : CheckPresence();
}

Failure Appending::CreateNote() {
  note_file_ = Descriptor(::openat(directory_.get(), note_name_.c_str(),
                                   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kNoteMode));
  if (note_file_.valid()) {
    return Failure::None();
  }
  if (errno == EEXIST) {
    return Failure::Of(EEXIST, "medium '" + path_.path + "' is already being appended to, as '" +
                                   note_path() + "' says");
  }
  return NoteFailure("create");
}

Failure Appending::NoteFailure(const char* what) const {
  const int os_error = errno;
  return Failure::Of(os_error, std::string("unable to ") + what + " note '" + note_path() +
                                   "' of medium '" + path_.path + "'");
}

Failure Appending::OpenMedium() {
  file_ = Descriptor(
      ::openat(directory_.get(), path_.leaf.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  if (!file_.valid() || ::fstat(file_.get(), &status) != 0) {
    return Failure::Unable(errno, "append to", path_.path);
  }
  if (!S_ISREG(status.st_mode)) {
    return Failure::Of(ENOTSUP, "medium '" + path_.path + "' is no regular file");
  }
  return IsLocked(file_.get()) ? HeldBy(file_.get(), path_.path) : Failure::None();
}

// A note that does not fit the medium covers nothing of it; it would only be in the way of the eye.
Failure Appending::CheckSettled() const {
  std::vector<FoundNote> notes;
  if (Failure failure = FindNotes(directory_.get(), path_, &notes); failure.failed()) {
    return failure;
  }
  for (const FoundNote& found : notes) {
    bool fits = false;
    if (found.name == note_name_) {
      continue;
    }
    if (Failure failure = NoteFits(found, file_.get(), path_.path, &fits); failure.failed()) {
      return failure;
    }
    if (fits) {
      return Failure::Of(EBUSY, "an interrupted append to medium '" + path_.path +
                                    "' is not settled: the server that began it does so when its "
                                    "agent attaches; where that server is gone, remove '" +
                                    path_.directory + "/" + found.name +
                                    "' or overwrite the medium");
    }
    ::unlinkat(directory_.get(), found.name.c_str(), 0);
  }
  return Failure::None();
}

Failure Appending::WriteNote() {
  if (Failure failure = FingerprintOf(file_.get(), path_.path, note_.committed, &note_.fingerprint);
      failure.failed()) {
    return failure;
  }
  const std::string bytes = EncodeNote(note_);
  const ssize_t written = ::pwrite(note_file_.get(), bytes.data(), bytes.size(), 0);
  if (written >= 0 && written < static_cast<ssize_t>(bytes.size())) {
    errno = ENOSPC;
    return NoteFailure("write");
  }
  return written < 0 || ::fsync(note_file_.get()) != 0 ? NoteFailure("write")
                                                       : SyncDirectory(directory_.get(), path_);
}

Failure Appending::RemoveNote() {
  if (::unlinkat(directory_.get(), note_name_.c_str(), 0) != 0 && errno != ENOENT) {
    return NoteFailure("remove");
  }
  note_file_.Reset();
  return SyncDirectory(directory_.get(), path_);
}

Failure Appending::CheckPresence() const {
  if (Failure failure = CheckSameDirectory(directory_.get(), path_); failure.failed()) {
    return failure;
  }
  if (!LeadsTo(directory_.get(), path_.leaf, file_.get())) {
    return Failure::Of(ENOENT, "medium '" + path_.path + "' was removed while it was appended to");
  }
  if (!published_ && !NoteIsOurs()) {
    return Failure::Of(ENOENT, "note '" + note_path() + "' was removed while medium '" +
                                   path_.path + "' was appended to");
  }
  return Failure::None();
}

Failure Appending::Publish() {
  if (published_) {
    return Failure::None();
  }
  if (Failure failure = CheckPresence(); failure.failed()) {
    return failure;
  }
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) {
    return Failure::Unable(errno, "look at", path_.path);
  }
  std::vector<AppendRecord> records = ReadAppendRecords(file_.get());
  std::erase_if(records, [&](const auto& record) { return record.token == note_.token; });
  records.push_back({.token = note_.token, .before = note_.committed, .after = status.st_size});
  if (Failure failure = WriteAppendRecords(file_.get(), path_.path, records); failure.failed()) {
    return failure;
  }
  if (::fsync(file_.get()) != 0) {
    return Failure::Unable(errno, "make durable", path_.path);
  }
  if (::unlinkat(directory_.get(), note_name_.c_str(), 0) != 0) {
    return NoteFailure("remove");
  }
  published_ = true;
  note_file_.Reset();
  return SyncDirectory(directory_.get(), path_);
}

Failure Appending::Discard() {
  if (published_) {
    file_.Reset();
    return TakeBack(path_, note_.token);
  }
  return note_file_.valid() ? CutBack() : Failure::None();
}

Failure Appending::CutBack() {
  if (!NoteIsOurs()) {
    // Without the note others may have built on what we wrote.
    return Failure::Of(ESTALE, "note '" + note_path() + "' was removed, and medium '" + path_.path +
                                   "' keeps what was appended");
  }
  // The record first: should we die behind it, the note is still there.
  std::vector<AppendRecord> records = ReadAppendRecords(file_.get());
  if (std::erase_if(records, [&](const auto& record) { return record.token == note_.token; }) > 0) {
    if (Failure failure = WriteAppendRecords(file_.get(), path_.path, records); failure.failed()) {
      return failure;
    }
  }
  if (::ftruncate(file_.get(), note_.committed) != 0 || ::fsync(file_.get()) != 0) {
    return Failure::Unable(errno, "give its former end to", path_.path);
  }
  return RemoveNote();
}

Failure Appending::OpenLeftOver(bool* fits) {
  *fits = false;
  if (Failure failure = OpenDirectoryOf(path_, &directory_); failure.failed()) {
    return failure;
  }
  note_file_ =
      Descriptor(::openat(directory_.get(), note_name_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!note_file_.valid()) {
    return NoteFailure("open");
  }
  if (Failure failure = LockFile(note_file_.get(), path_.path); failure.failed()) {
    return failure;
  }
  FoundNote found;
  if (Failure failure = ReadNote(directory_.get(), path_, note_.token, &found); failure.failed()) {
    return failure;
  }
  if (Failure failure = OpenMedium(); failure.failed()) {
    return failure.os_error == ENOENT ? Failure::None() : failure;
  }
  note_ = found.whole ? found.note : note_;
  return NoteFits(found, file_.get(), path_.path, fits);
}

Failure Appending::RecoverCommit(const MediumPath& path, const std::string& token) {
  Appending left_over(path, token);
  bool fits = false;
  if (Failure failure = left_over.OpenLeftOver(&fits); failure.failed()) {
    return failure;
  }
  if (!left_over.file_.valid()) {
    return Failure::Of(ENOENT, "medium '" + path.path + "' is gone, and with it what token '" +
                                   token + "' appended");
  }
  if (!fits) {
    return Failure::Of(ESTALE, "medium '" + path.path + "' is not the one that token '" + token +
                                   "' appended to, or its note '" + left_over.note_path() +
                                   "' is damaged");
  }
  struct stat status {};
  // Truncating to the same size releases what was allocated ahead.
  if (::fstat(left_over.fd(), &status) != 0 || ::ftruncate(left_over.fd(), status.st_size) != 0) {
    return Failure::Unable(errno, "make durable", path.path);
  }
  return left_over.Publish();
}

Failure Appending::RecoverDiscard(const MediumPath& path, const std::string& token) {
  Appending left_over(path, token);
  bool fits = false;
  if (Failure failure = left_over.OpenLeftOver(&fits); failure.failed()) {
    return failure.os_error == ENOENT ? Failure::None() : failure;
  }
  return fits ? left_over.CutBack() : left_over.RemoveNote();
}

bool Appending::HasAppended(const MediumPath& path, const std::string& token) {
  const Descriptor medium(
      ::open(path.path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  const std::vector<AppendRecord> records = ReadAppendRecords(medium.get());
  return std::any_of(records.begin(), records.end(),
                     [&](const auto& record) { return record.token == token; });
}

Failure Appending::TakeBack(const MediumPath& path, const std::string& token) {
  Appending again(path, token);
  if (Failure failure = OpenDirectoryOf(path, &again.directory_); failure.failed()) {
    return failure;
  }
  if (Failure failure = again.CreateNote(); failure.failed()) {
    return failure;
  }
  Failure failure = again.Hold();
  struct stat status {};
  if (!failure.failed() && ::fstat(again.fd(), &status) != 0) {
    failure = Failure::Unable(errno, "look at", path.path);
  }
  const std::vector<AppendRecord> records = ReadAppendRecords(again.fd());
  const bool last = !records.empty() && records.back().token == token &&
                    records.back().after == status.st_size &&
                    records.back().before <= status.st_size;
  if (failure.failed() || !last) {
    // The note is empty yet: it covers nothing.
    ::unlinkat(again.directory_.get(), again.note_name_.c_str(), 0);
    return failure.os_error == ENOENT ? Failure::None() : failure;
  }
  again.note_.committed = records.back().before;
  failure = again.WriteNote();
  return failure.failed() ? failure : again.CutBack();
}

}  // namespace capstan::disk
