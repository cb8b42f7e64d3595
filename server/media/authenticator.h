// Authenticator: proves to whoever has the key of an encrypted set that what one family says of the
// set at both ends, and which frames it holds in which order, is what was written. Media know what
// is to be proved; the implementation knows the key.
//
// Threads: one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace capstan::media {

class Authenticator {
 public:
  using Tag = std::array<std::byte, 16>;

  virtual ~Authenticator() = default;

  // `number`, of all of these: of the proof. Of one key no two beginnings, and no two ends, have
  // the same one: it is how often the backup was gone on with << 32 | the family's number. The tag
  // of a family's beginning, whose text is `pieces` one behind the other.
  virtual Tag HeadTag(std::uint64_t number, std::span<const std::span<const std::byte>> pieces) = 0;
  // The text of the family's end, piece by piece as it becomes known; its tag when it is complete.
  virtual void AddToEnd(std::uint64_t number, std::span<const std::byte> piece) = 0;
  // REQUIRES: once per object.
  virtual Tag EndTag(std::uint64_t number) = 0;
};

}  // namespace capstan::media
