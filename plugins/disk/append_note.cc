#include "plugins/disk/append_note.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/disk/descriptor.h"
#include "plugins/disk/medium_directory.h"

namespace capstan::disk {
namespace {

constexpr std::size_t kBlockSize = 4096;
constexpr std::int64_t kFingerprintSize = 4096;  // bytes, at either end
constexpr int kLooksMax = 100;

// One line, without the zeros behind it.
std::string LineOf(const AppendNote& note) {
  char text[256];
  std::snprintf(text, sizeof(text), "capstan-append 1 %s %" PRId64 " %016" PRIx64,
                note.token.c_str(), note.committed, note.fingerprint);
  const std::string fields = text;
  std::snprintf(text, sizeof(text), " %016" PRIx64 "\n", Hash(fields));
  return fields + text;
}

bool DecodeBlock(std::string_view block, AppendNote* note) {
  const std::string text(block.substr(0, block.find('\n')));
  char token[65] = "";
  if (std::sscanf(text.c_str(), "capstan-append 1 %64s %" SCNd64 " %" SCNx64, token,
                  &note->committed, &note->fingerprint) != 3 ||
      note->committed < 0) {
    return false;
  }
  note->token = token;
  std::string whole = LineOf(*note);
  whole.resize(kBlockSize);
  return block == whole;
}

// What the medium holds at `position`, as far as it goes.
Failure ReadSome(int medium, const std::string& path, std::int64_t position, std::int64_t size,
                 std::string* bytes) {
  bytes->resize(static_cast<std::size_t>(size));
  std::size_t done = 0;
  while (done < bytes->size()) {
    const ssize_t got = ::pread(medium, bytes->data() + done, bytes->size() - done,
                                position + static_cast<off_t>(done));
    if (got < 0 && errno != EINTR) {
      return Failure::Unable(errno, "read", path);
    }
    if (got == 0) {
      break;
    }
    done += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  bytes->resize(done);
  return Failure::None();
}

Failure ReadNamedNote(int directory, const MediumPath& path, const std::string& name,
                      std::string_view token, FoundNote* result) {
  *result = {.name = name};
  const Descriptor file(
      ::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) {
    return Failure::Of(errno, "unable to open note '" + path.directory + "/" + name +
                                  "' of medium '" + path.path + "'");
  }
  std::string bytes;
  if (Failure failure = ReadSome(file.get(), path.path, 0, 2 * kBlockSize, &bytes);
      failure.failed()) {
    return failure;
  }
  result->held = IsLocked(file.get());
  result->whole = DecodeNote(bytes, &result->note) && result->note.token == token;
  return Failure::None();
}

// The least that a note which fits says, or the size.
Failure LookOnce(int directory, const MediumPath& path, int medium, std::int64_t* result) {
  struct stat status {};
  if (::fstat(medium, &status) != 0) {
    return Failure::Unable(errno, "look at", path.path);
  }
  *result = status.st_size;
  std::vector<FoundNote> notes;
  if (Failure failure = FindNotes(directory, path, &notes); failure.failed()) {
    return failure;
  }
  for (const FoundNote& found : notes) {
    bool fits = false;
    if (Failure failure = NoteFits(found, medium, path.path, &fits); failure.failed()) {
      return failure;
    }
    if (fits) {
      *result = std::min(*result, found.note.committed);
    }
  }
  return Failure::None();
}

}  // namespace

std::string EncodeNote(const AppendNote& note) {
  std::string block = LineOf(note);
  block.resize(kBlockSize);
  return block + block;
}

bool DecodeNote(std::string_view bytes, AppendNote* note) {
  for (const std::size_t at : {std::size_t{0}, kBlockSize}) {
    if (bytes.size() >= at + kBlockSize && DecodeBlock(bytes.substr(at, kBlockSize), note)) {
      return true;
    }
  }
  return false;
}

Failure FingerprintOf(int medium, const std::string& path, std::int64_t committed,
                      std::uint64_t* result) {
  const std::int64_t size = std::min(committed, kFingerprintSize);
  std::string head;
  std::string tail;
  for (const auto& [position, bytes] :
       {std::pair(std::int64_t{0}, &head), std::pair(committed - size, &tail)}) {
    if (Failure failure = ReadSome(medium, path, position, size, bytes); failure.failed()) {
      return failure;
    }
  }
  *result = Hash(head + tail);
  return Failure::None();
}

Failure ReadNote(int directory, const MediumPath& path, std::string_view token, FoundNote* result) {
  return ReadNamedNote(directory, path, NoteName(path.leaf, token), token, result);
}

Failure FindNotes(int directory, const MediumPath& path, std::vector<FoundNote>* result) {
  return ForEachName(directory, path, [&](const char* name) {
    const std::string_view token = TokenOfNote(name, path.leaf);
    if (token.empty()) {
      return Failure::None();
    }
    FoundNote found;
    Failure failure = ReadNamedNote(directory, path, name, token, &found);
    if (failure.os_error == ENOENT) {
      return Failure::None();  // settled this instant
    }
    result->push_back(std::move(found));
    return failure;
  });
}

Failure NoteFits(const FoundNote& found, int medium, const std::string& path, bool* fits) {
  struct stat status {};
  *fits = false;
  if (::fstat(medium, &status) != 0) {
    return Failure::Unable(errno, "look at", path);
  }
  if (!found.whole || found.note.committed > status.st_size) {
    return Failure::None();
  }
  std::uint64_t fingerprint = 0;
  Failure failure = FingerprintOf(medium, path, found.note.committed, &fingerprint);
  *fits = !failure.failed() && fingerprint == found.note.fingerprint;
  return failure;
}

Failure RemoveNotes(int directory, const MediumPath& path) {
  return ForEachName(directory, path, [&](const char* name) {
    return TokenOfNote(name, path.leaf).empty() || ::unlinkat(directory, name, 0) == 0 ||
                   errno == ENOENT
               ? Failure::None()
               : Failure::Of(errno, "unable to remove note '" + path.directory + "/" + name +
                                        "' of medium '" + path.path + "'");
  });
}

// An append may begin or end while we look. Its note is there before the medium grows and goes
// after it is whole or cut, so what two looks in a row agree upon was true between them.
Failure FindCommittedSize(const MediumPath& path, int medium, std::int64_t* result) {
  Descriptor directory;
  if (Failure failure = OpenDirectoryOf(path, &directory); failure.failed()) {
    return failure;
  }
  std::int64_t earlier = -1;
  for (int looks = 0; looks < kLooksMax; ++looks) {
    Failure failure = LookOnce(directory.get(), path, medium, result);
    if (failure.os_error == EACCES) {
      return Failure::None();
    }
    if (failure.failed() || *result == earlier) {
      return failure;
    }
    earlier = *result;
  }
  return Failure::Of(EBUSY, "medium '" + path.path + "' does not stop changing");
}

}  // namespace capstan::disk
