// One frame: a FILE block, our frame header, the payload as a STAN stream, padding; exactly one
// transfer size. A void one has its payload in a stream of ours, which no reader takes for data.
// The composer and the parser of its bytes, side by side.
//
// Internal to server/media. Threads: one at a time per FrameComposer; parsing is stateless.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/media/capstan_layout.h"
#include "server/media/family_writer.h"
#include "server/media/mtf_values.h"
#include "server/media/payload_form.h"

namespace capstan::media {

// Where a frame stands in its family.
struct FramePlace {
  std::uint64_t fla = 0;
  std::uint32_t control_block_id = 0;
  std::uint32_t file_id = 0;
};

class FrameComposer {
 public:
  // `packing` as in FrameGeometry. Error 3244 if a file's name does not fit a block;
  // kInvalidArgument for a codec or cipher that is not known.
  static Result<FrameComposer> Create(const BackupSet& set, std::uint32_t packing = 0);

  FrameGeometry geometry() const { return geometry_; }

  // As FamilyWriter::SealFrame requires. Allocates nothing.
  void Seal(std::span<std::byte> buffer, const FrameExtent& extent, const FramePlace& place);

 private:
  // Everything in front of the payload, for one file; only numbers differ from frame to frame.
  struct Template {
    std::optional<std::uint32_t> file_index;
    FileBlock block;
    FrameStream stream;
    std::size_t number_offset = 0;  // of the digits in the file's name
    std::array<std::byte, kFormatLogicalBlock> bytes{};
  };

  FrameComposer() = default;
  Template& TemplateFor(std::uint32_t file_index);

  // Constant after construction.
  std::vector<std::u16string> leaf_names_;
  Guid backup_set_guid_;
  MtfDate date_;
  PayloadForm form_;
  std::size_t stream_offset_ = 0;  // of the frame header's stream header
  FrameGeometry geometry_;

  std::array<Template, 16> templates_;  // by file_index modulo the size
};

// What is wrong with a piece of a medium, and where, counted from the piece's first byte.
struct Damage {
  std::size_t offset = 0;
  std::string_view what;
  bool unsupported = false;  // sound, but of a version or codec that we do not know
};

struct ParsedFrame {
  FrameExtent extent;
  PayloadForm form;
  std::size_t payload_offset = 0;
};

struct FrameExpectation {
  Guid backup_set_guid;
  std::uint64_t fla = 0;
  std::uint32_t control_block_id = 0;
  std::uint32_t file_count = 0;
  PayloadForm form;
};

// Takes a whole frame apart and checks every byte of it but the payload's.
std::optional<Damage> ParseFrame(Bytes frame, const FrameExpectation& expected,
                                 ParsedFrame* parsed);

// Everything that a frame of a packed set takes, from its first kFormatLogicalBlock bytes: 0 if
// they are not those of a frame of the transfer size or less.
std::uint32_t PackedFrameSize(Bytes head, std::uint32_t packing, std::uint32_t transfer_size);

// The part of a FILE block of ours up to the payload; `head` may be cut off behind that. Of a void
// frame, too.
std::optional<Damage> ParseFrameHead(Bytes head, ParsedFrame* parsed, FrameStream* stream);

// What the index says of a frame, in a packed set with its size.
class IndexRecord {
 public:
  // `frame_size`: 0 unless the set is packed.
  IndexRecord(const FrameExtent& extent, std::uint32_t frame_size);
  Bytes bytes() const { return AsBytes(packed_).first(SizeOf(packed_.frame_size != 0)); }
  static constexpr std::size_t SizeOf(bool packed) {
    return packed ? sizeof(PackedIndexEntry) : sizeof(IndexEntry);
  }

 private:
  PackedIndexEntry packed_;
};
// Of a void frame, a void extent. `record` is an IndexEntry or a PackedIndexEntry. `around`: what
// PayloadForm puts around a payload that is only encrypted; 0 in a packed set.
FrameExtent ExtentOf(Bytes record, std::uint32_t around);

}  // namespace capstan::media
