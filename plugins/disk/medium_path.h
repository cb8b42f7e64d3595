// MediumPath: where a medium lies, with symbolic links followed, and what is called that lies
// beside it while it is written.
//
// A link is followed before anything is created, so that a backup through it replaces the file that
// it points to and leaves the link alone. No I/O but lookups; no ownership.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "plugins/disk/failure.h"

namespace capstan::disk {

struct MediumPath {
  std::string directory;  // canonical; "/" for the root
  std::string leaf;
  std::string path;  // directory and leaf

  // `target` must be absolute; its directory must exist, the leaf need not.
  static Failure Resolve(const std::string& target, MediumPath* result);
};

// FNV-1a: tells names and torn bytes apart, no more.
std::uint64_t Hash(std::string_view text);

// Letters, digits and '-', 1 to 64 of them.
bool IsToken(std::string_view token);

// ".<leaf>.<token>.capstan-partial"; a leaf too long for that is cut and gets a hash instead.
std::string PartialName(const std::string& leaf, std::string_view token);

// Whether `name` is the partial of `leaf` under some token.
bool IsPartialOf(std::string_view name, const std::string& leaf);

// ".<leaf>.<token>.capstan-append", beside a medium that is being appended to; cut as a partial's.
std::string NoteName(const std::string& leaf, std::string_view token);

// The token in `name` if it is that of a note of `leaf`, otherwise empty.
std::string_view TokenOfNote(std::string_view name, const std::string& leaf);

// "process 4711 (capstan-agent)" for who holds an flock on the file behind `fd`, as far as
// /proc/locks tells, otherwise "another process".
std::string LockHolder(int fd);

}  // namespace capstan::disk
