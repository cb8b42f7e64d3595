// AppendNote: what is written beside a medium before the first byte behind its end, so that
// whoever comes later knows how much of it counts.
//
//   .<leaf>.<token>.capstan-append      two equal blocks of 4096 bytes, each a line of text:
//   "capstan-append 1 <token> <committed size> <fingerprint> <checksum>\n", then zeros
//
// The note is durable before the medium grows, so a note that cannot be read (no block of it is
// whole) covers nothing. The fingerprint is that of the bytes at both ends of what is committed: it
// tells the medium of the note from another one that was put in its place.
// Threads: any; no ownership.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/disk/failure.h"
#include "plugins/disk/medium_path.h"

namespace capstan::disk {

struct AppendNote {
  std::string token;
  std::int64_t committed = 0;  // bytes
  std::uint64_t fingerprint = 0;
};

std::string EncodeNote(const AppendNote& note);
// False: no block of it is whole.
bool DecodeNote(std::string_view bytes, AppendNote* note);

// Of the first `committed` bytes, which the file must have.
Failure FingerprintOf(int medium, const std::string& path, std::int64_t committed,
                      std::uint64_t* result);

// A note that lies beside the medium.
struct FoundNote {
  std::string name;
  bool held = false;   // its owner lives
  bool whole = false;  // it could be read, and is of the token in its name
  AppendNote note = {};
};

// Reads one note by its token; ENOENT if there is none.
Failure ReadNote(int directory, const MediumPath& path, std::string_view token, FoundNote* result);

Failure FindNotes(int directory, const MediumPath& path, std::vector<FoundNote>* result);

// Whether what `found` says is true of the medium. False as well if it is not whole.
Failure NoteFits(const FoundNote& found, int medium, const std::string& path, bool* fits);

// Removes every note of the medium. Durable once the directory is synced.
Failure RemoveNotes(int directory, const MediumPath& path);

// How many bytes of the open file behind `medium` count: its size, or what a note says. Where the
// directory may not be listed it is the size, and the format must tell.
Failure FindCommittedSize(const MediumPath& path, int medium, std::int64_t* result);

}  // namespace capstan::disk
