// SetDigest: what a backup set holds, in 32 bytes, so that a set is recognised by its contents and
// not by a GUID that whatever stands in its place may have as well.
//
// It is made of what is said of every frame - sequence, file, offset, lengths, CRC32C of the
// payload as stored - and not of the data, whose CRC32C has been computed or checked by then:
// however large a frame is, it costs one SHA-256 of 32 bytes. These are added up modulo 2^256.
// So order means nothing, neither that of reading nor on which family or mirror a frame lies, and
// nothing is kept or sorted. Sum and count are hashed once more.
//
// Every frame has its CRC32C, WITH CHECKSUM or without, so the digest covers the same in both. It
// finds mistakes and replaced media, not a forger: data can be made to have a given CRC32C. What is
// against forgers are the proofs of an encrypted set. (format.md, section 2.)
//
// Threads: any.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/media/family_writer.h"
#include "vdi/base/mutex.h"

namespace capstan::media {

inline constexpr std::size_t kSetDigestSize = 32;  // bytes

class SetDigest {
 public:
  // A frame of the set, each of them once. Its payload has been read or checked. Void ones are no
  // part of what the set holds and count for nothing.
  void Add(const FrameExtent& frame) CAPSTAN_EXCLUDES(mutex_);

  // Of the frames so far.
  std::string Value() const CAPSTAN_EXCLUDES(mutex_);

 private:
  using Sum = std::array<std::uint64_t, 4>;  // 256 bits, least significant first

  mutable Mutex mutex_;
  Sum sum_ CAPSTAN_GUARDED_BY(mutex_) = {};
  std::uint64_t frame_count_ CAPSTAN_GUARDED_BY(mutex_) = 0;
};

// As T-SQL prints varbinary: "0x" and hexadecimal digits.
std::string PrintDigest(std::string_view digest);

}  // namespace capstan::media
