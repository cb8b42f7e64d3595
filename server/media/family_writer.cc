#include "server/media/family_writer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "server/media/frame.h"
#include "server/media/frame_index.h"
#include "server/media/set_composer.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

// Head, index and tail one after the other; the tail begins with the index's seal, which is known
// once the index has gone by.
class IndexedTrailer final : public TrailerStream {
 public:
  IndexedTrailer(TrailerHead head, const FrameIndex* index, ByteVector tail)
      : head_(std::move(head)), index_(index), tail_(std::move(tail)) {
    crc_ = Crc32c(0, Bytes(head_.bytes).subspan(head_.index_covered_from));
  }

  std::uint64_t size_bytes() const override {
    return head_.bytes.size() + index_->size_bytes() + tail_.size();
  }

  std::size_t Fill(std::span<std::byte> target) override {
    std::size_t filled = 0;
    while (filled < target.size() && position_ < size_bytes()) {
      const Bytes piece = NextPiece();
      const std::size_t size = std::min(piece.size(), target.size() - filled);
      std::memcpy(target.data() + filled, piece.data(), size);
      if (InIndex()) {
        crc_ = Crc32c(crc_, piece.first(size));
      }
      filled += size;
      position_ += size;
    }
    return filled;
  }

 private:
  std::uint64_t index_end() const { return head_.bytes.size() + index_->size_bytes(); }
  bool InIndex() const { return position_ >= head_.bytes.size() && position_ < index_end(); }

  Bytes NextPiece() {
    if (position_ < head_.bytes.size()) {
      return Bytes(head_.bytes).subspan(position_);
    }
    if (InIndex()) {
      return index_->BytesFrom(position_ - head_.bytes.size());
    }
    if (position_ == index_end()) {
      CompleteSeal();
    }
    return Bytes(tail_).subspan(position_ - index_end());
  }

  void CompleteSeal() {
    constexpr std::size_t kCrcOffset = offsetof(StreamSeal, crc32c);
    const std::uint32_t crc = Crc32c(crc_, Bytes(tail_).first(kCrcOffset));
    std::memcpy(tail_.data() + kCrcOffset, &crc, sizeof(crc));
  }

  const TrailerHead head_;
  const FrameIndex* const index_;
  ByteVector tail_;
  std::uint64_t position_ = 0;
  std::uint32_t crc_ = 0;
};

class MtfFamilyWriter final : public FamilyWriter {
 public:
  MtfFamilyWriter(MediaHeader header, std::uint32_t transfer_size, ByteVector preamble,
                  FrameComposer composer)
      : header_(std::move(header)),
        transfer_size_(transfer_size),
        preamble_(std::move(preamble)),
        composer_(std::move(composer)) {}

  std::span<const std::byte> preamble() const override { return preamble_; }
  FrameGeometry geometry() const override { return composer_.geometry(); }

  std::uint64_t SealFrame(std::span<std::byte> buffer, const FrameExtent& extent) override {
    const std::uint64_t offset = trailer_offset();
    const std::uint64_t number = index_.summary().frame_count;
    composer_.Seal(
        buffer, extent,
        {.fla = (offset - kFirstSetOffset) / kFormatLogicalBlock,
         .control_block_id = static_cast<std::uint32_t>(kFirstFrameControlBlockId + number),
         .file_id = static_cast<std::uint32_t>(number + 1)});
    index_.Add(extent);
    return offset;
  }

  FamilySummary summary() const override {
    FamilySummary summary = index_.summary();
    summary.family_number = header_.family_number;
    return summary;
  }

  std::uint64_t trailer_offset() const override {
    return preamble_.size() + index_.summary().frame_count * transfer_size_;
  }

  Result<std::unique_ptr<TrailerStream>> Trailer(const BackupSet& final_set,
                                                 std::span<const FamilySummary> families) override;

 private:
  Status CheckFamilies(std::span<const FamilySummary> families) const;

  const MediaHeader header_;
  const std::uint32_t transfer_size_;
  const ByteVector preamble_;
  FrameComposer composer_;
  FrameIndex index_;
};

Status MtfFamilyWriter::CheckFamilies(std::span<const FamilySummary> families) const {
  const FamilySummary own = summary();
  const bool found = std::any_of(families.begin(), families.end(),
                                 [&](const FamilySummary& f) { return f == own; });
  if (!found || families.size() != header_.family_count) {
    return Error(Code::kInvalidArgument,
                 "{} summaries do not describe the {} families of the media set, of which this is "
                 "number {}",
                 families.size(), header_.family_count, header_.family_number);
  }
  return OkStatus();
}

Result<std::unique_ptr<TrailerStream>> MtfFamilyWriter::Trailer(
    const BackupSet& final_set, std::span<const FamilySummary> families) {
  CAPSTAN_RETURN_IF_ERROR(CheckFamilies(families));
  const TrailerFacts facts{.offset = trailer_offset(),
                           .frame_count = index_.summary().frame_count,
                           .families = families};
  TrailerHead head = ComposeTrailerHead(header_, final_set, facts);
  const std::size_t seal_start = head.bytes.size() + index_.size_bytes();

  StreamSeal seal;
  seal.covered = seal_start - head.index_covered_from + sizeof(seal.covered);
  ByteVector tail;
  AppendBytes(&tail, AsBytes(seal));
  AppendBytes(&tail, ComposeTrailerTail(final_set, facts, head.set_map_block,
                                        facts.offset + seal_start + sizeof(seal)));
  if ((facts.offset + seal_start + tail.size()) / kPhysicalBlock >
      std::numeric_limits<std::uint32_t>::max()) {
    return Error(Code::kOutOfRange, "a media family of {} bytes is larger than MTF can address",
                 facts.offset)
        .WithHint("back up to more devices");
  }
  return std::unique_ptr<TrailerStream>(
      std::make_unique<IndexedTrailer>(std::move(head), &index_, std::move(tail)));
}

}  // namespace

Result<std::unique_ptr<FamilyWriter>> FamilyWriter::Create(const MediaHeader& header,
                                                           const BackupSet& set) {
  if (set.transfer_size < kTransferSizeMin || set.transfer_size > kTransferSizeMax ||
      set.transfer_size % kPhysicalBlock != 0) {
    return SqlError(3250, set.transfer_size, "MAXTRANSFERSIZE");
  }
  if (set.position == 0 || header.family_count == 0 || header.family_count > kFamilyCountMax ||
      header.family_number == 0 || header.family_number > header.family_count) {
    return Error(Code::kInvalidArgument, "unable to compose set {} of family {} of {}",
                 set.position, header.family_number, header.family_count);
  }
  CAPSTAN_ASSIGN_OR_RETURN(ByteVector preamble, ComposePreamble(header, set));
  CAPSTAN_ASSIGN_OR_RETURN(FrameComposer composer, FrameComposer::Create(set));
  return std::unique_ptr<FamilyWriter>(std::make_unique<MtfFamilyWriter>(
      header, set.transfer_size, std::move(preamble), std::move(composer)));
}

}  // namespace capstan::media
