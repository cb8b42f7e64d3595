// FilemarkTrail: the soft filemarks of one medium. Each lists those before it, so that every byte
// of the next one is known beforehand.
//
// Where a medium was full amid the end of a set, the filemark, the EOTM and the filemark that close
// it stand amid what was begun, and only the medium's end shows that they do: the trail keeps the
// last bytes that have arrived for that.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/media/block_composer.h"
#include "server/media/capstan_layout.h"
#include "server/media/mtf_values.h"

namespace capstan::media {

class FilemarkTrail {
 public:
  // Whether `block`, which stands at `offset` of the medium, is the filemark that belongs there;
  // it counts from then on.
  bool Pass(Bytes block, std::uint64_t offset);

  // Instead of Pass, where a filemark before this one may have been lost to damage: whether `block`
  // can be one that stands at `offset`; what it says of those before it counts.
  bool Adopt(Bytes block, std::uint64_t offset);

  // The next bytes of the medium.
  void KeepTail(Bytes chunk);
  // Whether a medium of `size` bytes, which KeepTail had all of, ends as a full one does: filemark,
  // EOTM with `span`, filemark.
  bool EndsAsFullMedium(std::uint64_t size, const SpanStream& span) const;

 private:
  std::vector<std::uint32_t> marks_;  // physical blocks, ascending; as many as a filemark can hold
  std::uint32_t mark_count_ = 0;
  ByteVector tail_;
};

}  // namespace capstan::media
