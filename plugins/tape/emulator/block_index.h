// BlockIndex: where in an image each object of a tape lies. Blocks and filemarks count one each,
// from 0. Objects of one size that follow each other share an entry, so that terabytes need
// kilobytes.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace capstan::tape {

enum class ObjectKind { kBlock, kFilemark, kDamaged };

struct TapeObject {
  ObjectKind kind = ObjectKind::kBlock;
  std::uint64_t offset = 0;  // in the image
  std::uint64_t stored = 0;  // bytes in the image
  std::uint32_t length = 0;  // of the block

  std::uint64_t end() const { return offset + stored; }
};

class BlockIndex {
 public:
  std::uint64_t count() const { return count_; }
  // Where the next object goes.
  std::uint64_t end_offset() const;
  std::size_t entries() const { return runs_.size(); }

  // REQUIRES: object.offset >= end_offset().
  void Append(const TapeObject& object);
  // Forgets object `count` and all behind it.
  void Truncate(std::uint64_t count);

  // REQUIRES: object < count().
  TapeObject Find(std::uint64_t object) const;
  // The first filemark at or behind `object`.
  std::optional<std::uint64_t> FilemarkFrom(std::uint64_t object) const;
  // The last filemark in front of `object`.
  std::optional<std::uint64_t> FilemarkBefore(std::uint64_t object) const;

 private:
  struct Run {
    TapeObject first;
    std::uint64_t number;  // of the first object
    std::uint64_t count;
  };

  // The run that holds `object`, or the end.
  std::vector<Run>::const_iterator RunOf(std::uint64_t object) const;

  std::vector<Run> runs_;  // ascending in number and in offset
  std::uint64_t count_ = 0;
};

}  // namespace capstan::tape
