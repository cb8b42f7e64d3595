// FilemarkTrail: the soft filemarks of one medium. Each lists those before it, so that every byte
// of the next one is known beforehand: the writer composes it, the reader compares it.
//
// Where a medium was full amid the end of a set, the filemark, the EOTM and the filemark that close
// it stand amid what was begun, and only the medium's end shows that they do: the trail keeps the
// last bytes that have arrived for that.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "server/media/block_composer.h"
#include "server/media/capstan_layout.h"
#include "server/media/family_writer.h"
#include "server/media/mtf_values.h"

namespace capstan::media {

// What a soft filemark says of those before it; nothing if that cannot be.
std::optional<Filemarks> ListedFilemarks(Bytes block);

class FilemarkTrail {
 public:
  explicit FilemarkTrail(const MediumForm& form = {}, Filemarks marks = {})
      : form_(form), marks_(std::move(marks)) {}

  // Composes the next filemark, which stands at `offset` of the medium. It counts from then on.
  void Append(ByteVector* out, std::uint64_t offset);
  // Whether `block`, which stands at `offset` of the medium, is the filemark that belongs there;
  // it counts from then on.
  bool Pass(Bytes block, std::uint64_t offset);
  // Instead of Pass, where a filemark before this one may have been lost to damage, or reading
  // begins here: whether `block` can be one that stands at `offset`; what it says of those before
  // it counts.
  bool Adopt(Bytes block, std::uint64_t offset);
  // The same for one that another program may have written, which is not to the byte as ours are.
  bool AdoptForeign(Bytes block, std::uint64_t offset);

  const MediumForm& form() const { return form_; }
  const Filemarks& marks() const { return marks_; }

  // The next bytes of the medium.
  void KeepTail(Bytes chunk);
  // Whether a medium of `size` bytes, which KeepTail had all of, ends as a full one does: filemark,
  // EOTM with `span`, filemark.
  bool EndsAsFullMedium(std::uint64_t size, const SpanStream& span) const;

 private:
  void Add(std::uint64_t offset);

  MediumForm form_;
  Filemarks marks_;
  ByteVector tail_;
};

}  // namespace capstan::media
