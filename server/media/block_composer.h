// Composes descriptor blocks, streams and soft filemarks one behind the other in a byte vector.
//
// The vector's first byte must come to stand at a multiple of kPhysicalBlock behind the medium's
// start or its last filemark; all alignment is counted from there. Threads: one at a time per
// vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "server/media/capstan_layout.h"
#include "server/media/mtf_values.h"

namespace capstan::media {

using ByteVector = std::vector<std::byte>;

inline void AppendBytes(ByteVector* out, Bytes bytes) {
  out->insert(out->end(), bytes.begin(), bytes.end());
}

// Strings and fields of variable size, which stand behind a structure's fixed part.
class VariablePart {
 public:
  // `fixed_size` is that of the structure; what is added begins behind it, on an even byte.
  explicit VariablePart(std::size_t fixed_size) : fixed_size_(fixed_size) {}

  // UTF-16LE with one terminator inside the size; absent if empty.
  TapeAddress AddString(std::string_view utf8);
  TapeAddress AddUtf16(std::u16string_view text);  // as it is
  TapeAddress AddBytes(Bytes bytes);

  std::size_t end() const { return start() + bytes_.size(); }  // from the structure's start
  void AppendTo(ByteVector* out) const;                        // REQUIRES: behind the fixed part

 private:
  std::size_t start() const { return RoundUp(fixed_size_, 4); }

  std::size_t fixed_size_;
  ByteVector bytes_;
};

// Completes the header (first event at the next multiple of 4, checksum) and appends the block.
template <typename Block>
void AppendBlock(ByteVector* out, Block block, const VariablePart& variable) {
  const std::size_t start = out->size();
  const std::size_t first_event = RoundUp(variable.end(), 4);
  block.header.first_event_offset = static_cast<std::uint16_t>(first_event);
  block.header.checksum = HeaderChecksum(block.header);
  AppendBytes(out, AsBytes(block));
  variable.AppendTo(out);
  out->resize(start + first_event);
}

StreamHeader MakeStreamHeader(StreamType type, std::uint64_t length);

// Stream headers stand on multiples of 4: fills up with zeros.
void AppendStream(ByteVector* out, StreamType type, Bytes data);

// A stream of ours: `content` and a seal over everything from `covered_from` in `out` on.
void AppendSealedStream(ByteVector* out, StreamType type, Bytes content, std::size_t covered_from);

// Whether `covered`, the bytes from where a seal's coverage begins to the seal's end, are as
// sealed.
bool SealIsRight(Bytes covered);

// The stream that ends a block: zeros up to the next multiple of `unit` that leaves room for its
// header.
void AppendPad(ByteVector* out, std::size_t unit);

// The filemark with this number (from 1), which stands in this physical block; `previous` are the
// marks before it, in ascending order. `size`: 512 to 32768 bytes.
void AppendFilemark(ByteVector* out, std::uint32_t number, std::uint32_t physical_block,
                    std::span<const std::uint32_t> previous, std::uint32_t size = kPhysicalBlock);

// How many marks one of `size` bytes lists.
constexpr std::uint32_t FilemarkCapacity(std::uint32_t size) {
  return static_cast<std::uint32_t>((size - sizeof(SoftFilemarkHeader)) / sizeof(std::uint32_t));
}

}  // namespace capstan::media
