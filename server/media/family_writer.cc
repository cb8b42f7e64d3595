#include "server/media/family_writer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "server/media/filemark_trail.h"
#include "server/media/frame.h"
#include "server/media/frame_index.h"
#include "server/media/medium_part.h"
#include "server/media/set_composer.h"
#include "server/media/set_proof.h"
#include "server/messages/messages.h"
#include "vdi/base/check.h"

namespace capstan::media {
namespace {

// How much of a trailer has been taken. It may have to be given up then, see EndMedium.
struct TrailerProgress {
  bool marked = false;      // the filemark in front of it, either kind
  std::uint64_t bytes = 0;  // soft filemarks included
};

// Head, index and tail one after the other; the tail begins with the index's seal, which is known
// once the index has gone by.
class IndexedTrailer final : public MediumPart {
 public:
  IndexedTrailer(const MediaHeader& header, BackupSet final_set, TrailerFacts facts,
                 const FrameIndex* index, TrailerProgress* progress)
      : final_set_(std::move(final_set)),
        facts_(std::move(facts)),
        head_(ComposeTrailerHead(header, final_set_, facts_)),
        index_(index),
        progress_(progress) {
    crc_ = Crc32c(0, Bytes(head_.bytes).subspan(head_.index_covered_from));
    // The filemark in front of the first ESET counts as well.
    ComposeTail(hard() ? facts_.offset / facts_.form.block_size + facts_.hard_filemarks + 1
                       : (facts_.offset + facts_.form.filemark_size()) / facts_.form.address_unit);
  }

  std::uint64_t size_bytes() const override { return index_end() + tail_.size(); }

  std::size_t Fill(std::span<std::byte> target) override {
    if (hard() && marks_taken_ == 0) {
      return 0;
    }
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
    progress_->marked = true;
    progress_->bytes = position_;
    return filled;
  }

  bool TakeFilemark() override {
    const bool at_mark = marks_taken_ == 0 || (marks_taken_ == 1 && position_ == size_bytes());
    if (!hard() || !at_mark) {
      return false;
    }
    ++marks_taken_;
    progress_->marked = true;
    return true;
  }

  void SetPosition(std::uint64_t block) override {
    if (marks_taken_ == 1 && position_ == 0) {
      ComposeTail(block);
    }
  }

 private:
  bool hard() const { return facts_.form.hard_filemarks; }
  std::uint64_t index_end() const { return head_.bytes.size() + index_->size_bytes(); }
  bool InIndex() const { return position_ >= head_.bytes.size() && position_ < index_end(); }

  void ComposeTail(std::uint64_t end_of_set_pba) {
    const std::uint32_t unit = hard() ? facts_.form.block_size : facts_.form.address_unit;
    const std::uint64_t map = head_.set_map_offset;
    StreamSeal seal;
    seal.covered = index_end() - head_.index_covered_from + sizeof(seal.covered);
    tail_.clear();
    AppendBytes(&tail_, AsBytes(seal));
    AppendBytes(&tail_,
                ComposeTrailerTail(final_set_, facts_,
                                   {.end_of_set_pba = end_of_set_pba,
                                    .set_map_pba = map == 0 ? 0 : end_of_set_pba + map / unit},
                                   index_end() + sizeof(seal)));
  }

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

  const BackupSet final_set_;
  const TrailerFacts facts_;
  const TrailerHead head_;
  const FrameIndex* const index_;
  TrailerProgress* const progress_;
  ByteVector tail_;
  int marks_taken_ = 0;
  std::uint64_t position_ = 0;
  std::uint32_t crc_ = 0;
};

class MtfFamilyWriter final : public FamilyWriter {
 public:
  MtfFamilyWriter(FamilyOptions options, FrameComposer composer)
      : header_(std::move(options.header)),
        set_(std::move(options.set)),
        form_(options.append ? options.append->form : options.form),
        composer_(std::move(composer)),
        index_(set_.compressed()),
        set_map_(options.append ? options.append->set_map : SetMap()),
        append_(std::move(options.append)),
        preamble_size_(options.preamble_size),
        restarts_(options.restarts),
        authenticator_(options.authenticator) {}

  // Composes what the current medium begins with.
  Status BeginMedium(bool only_end_follows);

  std::unique_ptr<MediumPart> Preamble() override;
  std::uint64_t preamble_offset() const override { return append_ ? append_->offset : 0; }
  std::optional<TapePlace> preamble_place() const override {
    return append_ && form_.hard_filemarks ? std::optional(append_->place) : std::nullopt;
  }
  FrameGeometry geometry() const override { return composer_.geometry(); }

  std::uint64_t SealFrame(std::span<std::byte> buffer, const FrameExtent& extent) override {
    const std::uint64_t offset = trailer_offset();
    const std::uint64_t number = index_.summary().frame_count;
    composer_.Seal(
        buffer, extent,
        {.fla = set_head_facts_.fla + (offset - set_offset_) / form_.format_logical_block,
         .control_block_id =
             static_cast<std::uint32_t>(kFirstFrameControlBlockId + frames_on_medium()),
         .file_id = static_cast<std::uint32_t>(number + 1)});
    Count(extent, static_cast<std::uint32_t>(buffer.size()));
    return offset;
  }

  void AdoptFrame(const FrameExtent& extent) override {
    CAPSTAN_CHECK(preamble_size_ != 0);
    CAPSTAN_CHECK(extent.stored_size() > 0 && extent.sequence <= kSequenceMax);
    CAPSTAN_CHECK(extent.file_index < set_.files.size());
    const std::uint32_t size = composer_.geometry().FrameSize(extent.stored_size());
    CAPSTAN_CHECK(size <= set_.transfer_size);
    Count(extent, size);
  }

  FamilySummary summary() const override {
    FamilySummary summary = index_.summary();
    summary.family_number = header_.family_number;
    return summary;
  }

  std::uint64_t frames_on_medium() const override {
    return index_.summary().frame_count - before_.frame_count;
  }
  const MediaHeader& header() const override { return header_; }
  std::uint64_t trailer_offset() const override {
    return set_offset_ + set_head_.size() + frame_bytes_ - frame_bytes_before_;
  }

  Result<std::unique_ptr<MediumPart>> Trailer(const BackupSet& final_set,
                                              std::span<const FamilySummary> families) override;
  std::unique_ptr<MediumPart> EndMedium() override;
  Status NextMedium(bool only_end_follows) override;

 private:
  // The next place of the family has this frame now.
  void Count(const FrameExtent& extent, std::uint32_t size) {
    const IndexRecord record(extent, set_.compressed() ? size : 0);
    index_.Add(record, extent.payload_size());
    frame_bytes_ += size;
    if (authenticator_ != nullptr) {
      authenticator_->AddToEnd(ProofNumber(header_.family_number, restarts_), record.bytes());
    }
  }
  Status CheckFamilies(std::span<const FamilySummary> families) const;
  Status ProveTrailer(const BackupSet& final_set, TrailerFacts* facts);
  MediaMapEntry MapEntry() const;
  std::uint64_t SetAddress() const;
  // In front of the set: the one behind TAPE, or those of the sets before.
  std::uint32_t hard_filemarks() const { return append_ ? append_->place.filemarks : 1; }

  // Constant but for the sequence number.
  MediaHeader header_;
  const BackupSet set_;
  const MediumForm form_;
  FrameComposer composer_;
  FrameIndex index_;
  const std::optional<SetMap> set_map_;  // of the sets before
  std::uint64_t frame_bytes_ = 0;        // of the family
  std::optional<AppendPoint> append_;    // of this medium
  const std::uint64_t preamble_size_;    // 0: as it comes
  const std::uint32_t restarts_;

  // Of an encrypted set. What was proved is kept: a key must never prove two different ends.
  Authenticator* const authenticator_;
  std::optional<Authenticator::Tag> head_proof_;
  ByteVector proved_end_;
  Authenticator::Tag end_proof_{};

  // Of the media before this one.
  FamilySummary before_;
  std::uint64_t frame_bytes_before_ = 0;
  std::vector<MediaMapEntry> full_media_;
  std::uint64_t first_set_pba_ = 0;
  std::uint16_t first_medium_ = 1;  // its sequence number

  // Of this one.
  ByteVector tape_;      // with soft filemarks, the one behind it as well; nothing where appending
  Filemarks filemarks_;  // in front of the set
  ByteVector set_head_;
  SetHeadFacts set_head_facts_;
  std::uint64_t set_offset_ = 0;
  TrailerProgress trailer_;
};

Status MtfFamilyWriter::BeginMedium(bool only_end_follows) {
  const bool continued = !full_media_.empty();
  if (authenticator_ != nullptr && !head_proof_) {
    head_proof_ = ProveHead(*authenticator_, header_, restarts_, DescriptorContent(set_, false));
  }
  const SpanStream span = MakeSpan(set_, header_.media_sequence_number, before_);
  if (append_) {
    set_offset_ = append_->offset;
    filemarks_ = append_->filemarks;
  } else {
    CAPSTAN_ASSIGN_OR_RETURN(tape_, ComposeTape(header_, set_, form_, continued ? &span : nullptr));
    FilemarkTrail marks(form_);
    if (!form_.hard_filemarks) {
      marks.Append(&tape_, tape_.size());
    }
    filemarks_ = marks.marks();
    set_offset_ = tape_.size();
  }
  set_head_facts_ = {.pba = SetAddress(),
                     .fla = frame_bytes_before_ / form_.format_logical_block,
                     .continued = continued,
                     .only_end_follows = only_end_follows,
                     .proof = head_proof_,
                     .restarts = restarts_};
  if (preamble_size_ != 0) {
    set_head_facts_.size = preamble_size_ - std::min(preamble_size_, set_offset_);
  }
  CAPSTAN_ASSIGN_OR_RETURN(set_head_, ComposeSetHead(set_, form_, set_head_facts_));
  if (!continued) {
    first_set_pba_ = set_head_facts_.pba;
    first_medium_ = header_.media_sequence_number;
  }
  trailer_ = {};
  return OkStatus();
}

// Of the SSET, as far as it is known before the device is asked.
std::uint64_t MtfFamilyWriter::SetAddress() const {
  if (!form_.hard_filemarks) {
    return set_offset_ / form_.address_unit;
  }
  return append_ && append_->place.block ? *append_->place.block
                                         : set_offset_ / form_.block_size + hard_filemarks();
}

std::unique_ptr<MediumPart> MtfFamilyWriter::Preamble() {
  if (form_.hard_filemarks && !append_) {
    const auto set_head = [this](std::uint64_t block) {
      set_head_facts_.pba = block;
      if (!set_head_facts_.continued) {
        first_set_pba_ = block;
      }
      // It was composed before, and a number in it cannot make it fail.
      return std::move(ComposeSetHead(set_, form_, set_head_facts_)).value();
    };
    return std::make_unique<PreamblePart>(
        std::vector<PartSegment>{{.bytes = tape_}, {.behind_filemark = true, .bytes = set_head_}},
        set_head);
  }
  ByteVector bytes = tape_;
  AppendBytes(&bytes, set_head_);
  return std::make_unique<SegmentedPart>(std::vector<PartSegment>{{.bytes = std::move(bytes)}});
}

MediaMapEntry MtfFamilyWriter::MapEntry() const {
  return {.media_sequence_number = header_.media_sequence_number,
          .frame_count = frames_on_medium(),
          .payload_bytes = index_.summary().payload_bytes - before_.payload_bytes};
}

// MTF 1.00a, "Normal EOM processing": filemark unless one was just written, EOTM, filemark.
std::unique_ptr<MediumPart> MtfFamilyWriter::EndMedium() {
  ByteVector end =
      ComposeEndOfMedium(form_, MakeSpan(set_, header_.media_sequence_number, index_.summary()),
                         /*behind_sets=*/append_ && append_->position > 1);
  if (form_.hard_filemarks) {
    const bool behind_mark = trailer_.marked && trailer_.bytes == 0;
    return std::make_unique<SegmentedPart>(
        std::vector<PartSegment>{{.behind_filemark = !behind_mark, .bytes = std::move(end)},
                                 {.behind_filemark = true, .bytes = {}}});
  }
  FilemarkTrail marks(form_, filemarks_);
  ByteVector bytes;
  if (trailer_.bytes > 0) {
    marks.Append(&bytes, trailer_offset());  // it is there already
    bytes.clear();
  }
  const std::uint64_t start = trailer_offset() + trailer_.bytes;
  if (trailer_.bytes != form_.filemark_size()) {
    marks.Append(&bytes, start);
  }
  AppendBytes(&bytes, end);
  marks.Append(&bytes, start + bytes.size());
  return std::make_unique<SegmentedPart>(std::vector<PartSegment>{{.bytes = std::move(bytes)}});
}

Status MtfFamilyWriter::NextMedium(bool only_end_follows) {
  if (header_.media_sequence_number == kMediaCountMax) {
    return Error(Code::kOutOfRange, "a media family cannot have more than {} media",
                 kMediaCountMax);
  }
  full_media_.push_back(MapEntry());
  before_ = index_.summary();
  frame_bytes_before_ = frame_bytes_;
  ++header_.media_sequence_number;
  append_.reset();
  return BeginMedium(only_end_follows);
}

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

// The end may be composed again, on the next medium, and is the same then.
Status MtfFamilyWriter::ProveTrailer(const BackupSet& final_set, TrailerFacts* facts) {
  if (authenticator_ == nullptr) {
    return OkStatus();
  }
  const ByteVector families_text = FamiliesContent(facts->families);
  const ByteVector descriptor = DescriptorContent(final_set, true);
  ByteVector text = families_text;
  AppendBytes(&text, descriptor);
  if (proved_end_.empty()) {
    end_proof_ = ProveEnd(*authenticator_, header_,
                          {.families = families_text,
                           .descriptor = descriptor,
                           .frame_count = index_.summary().frame_count,
                           .restarts = restarts_});
    proved_end_ = std::move(text);
  } else if (text != proved_end_) {
    return Error(Code::kInternal, "an encrypted backup set cannot have two ends");
  }
  facts->proof = end_proof_;
  facts->restarts = restarts_;
  return OkStatus();
}

Result<std::unique_ptr<MediumPart>> MtfFamilyWriter::Trailer(
    const BackupSet& final_set, std::span<const FamilySummary> families) {
  CAPSTAN_RETURN_IF_ERROR(CheckFamilies(families));
  TrailerFacts facts{.form = form_,
                     .offset = trailer_offset(),
                     .filemarks = filemarks_,
                     .hard_filemarks = hard_filemarks(),
                     .frame_count = index_.summary().frame_count,
                     .frames_on_medium = frames_on_medium(),
                     .set_pba = first_set_pba_,
                     .set_medium = first_medium_,
                     .families = {families.begin(), families.end()},
                     .media = {},
                     .set_map = set_map_};
  CAPSTAN_RETURN_IF_ERROR(ProveTrailer(final_set, &facts));
  if (!full_media_.empty()) {
    facts.media = full_media_;
    facts.media.push_back(MapEntry());
  }
  trailer_ = {};
  auto trailer =
      std::make_unique<IndexedTrailer>(header_, final_set, std::move(facts), &index_, &trailer_);
  if (!form_.hard_filemarks && (trailer_offset() + trailer->size_bytes()) / form_.address_unit >
                                   std::numeric_limits<std::uint32_t>::max()) {
    return Error(Code::kOutOfRange, "a media family of {} bytes is larger than MTF can address",
                 trailer_offset())
        .WithHint("back up to more devices");
  }
  return std::unique_ptr<MediumPart>(std::move(trailer));
}

Status CheckAppend(const FamilyOptions& options, const FrameGeometry& geometry) {
  const AppendPoint& append = *options.append;
  const MediumForm& form = append.form;
  const bool possible = form.hard_filemarks
                            ? append.offset == 0 && append.place.filemarks > 0
                            : form.address_unit != 0 && form.filemark_size() >= 512 &&
                                  kPhysicalBlock % form.filemark_size() == 0 &&
                                  kPhysicalBlock % form.address_unit == 0 &&
                                  append.offset % form.filemark_size() == 0;
  if (!possible || options.set.position != append.position) {
    return Error(Code::kInvalidArgument, "unable to append set {} at byte {}, where set {} belongs",
                 options.set.position, append.offset, append.position);
  }
  // The FILE block of a frame is smaller than what stands in front of the payload.
  if (form.format_logical_block < kFormatLogicalBlock &&
      geometry.payload_offset > form.format_logical_block) {
    return SqlError(3244, form.format_logical_block);
  }
  return OkStatus();
}

Status CheckPreambleSize(const FamilyOptions& options) {
  if (options.preamble_size == 0) {
    return OkStatus();
  }
  if (options.append || options.form.hard_filemarks ||
      options.preamble_size % kPhysicalBlock != 0) {
    return Error(Code::kInvalidArgument,
                 "unable to go on behind {} bytes of a set that is not the first of a medium with "
                 "soft filemarks",
                 options.preamble_size);
  }
  if (options.set.encrypted() && options.restarts == 0) {
    return Error(Code::kInvalidArgument,
                 "an encrypted set that goes on cannot be proved as it was from its beginning");
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<FamilyWriter>> FamilyWriter::Create(const MediaHeader& header,
                                                           const BackupSet& set,
                                                           const MediumForm& form) {
  return Create({.header = header, .set = set, .form = form, .append = {}});
}

Result<std::unique_ptr<FamilyWriter>> FamilyWriter::Create(FamilyOptions options) {
  const BackupSet& set = options.set;
  const MediaHeader& header = options.header;
  if (set.transfer_size < kTransferSizeMin || set.transfer_size > kTransferSizeMax ||
      set.transfer_size % kPhysicalBlock != 0) {
    return SqlError(3250, set.transfer_size, "MAXTRANSFERSIZE");
  }
  if (set.position == 0 || header.family_count == 0 || header.family_count > kFamilyCountMax ||
      header.family_number == 0 || header.family_number > header.family_count) {
    return Error(Code::kInvalidArgument, "unable to compose set {} of family {} of {}",
                 set.position, header.family_number, header.family_count);
  }
  if (set.encrypted() != (options.authenticator != nullptr)) {
    return Error(Code::kInvalidArgument, "an authenticator belongs to an encrypted set");
  }
  const MediumForm& form = options.append ? options.append->form : options.form;
  CAPSTAN_ASSIGN_OR_RETURN(FrameComposer composer,
                           FrameComposer::Create(set, PackingOf(set, form)));
  if (options.append) {
    CAPSTAN_RETURN_IF_ERROR(CheckAppend(options, composer.geometry()));
  }
  CAPSTAN_RETURN_IF_ERROR(CheckPreambleSize(options));
  auto writer = std::make_unique<MtfFamilyWriter>(std::move(options), std::move(composer));
  CAPSTAN_RETURN_IF_ERROR(writer->BeginMedium(false));
  return std::unique_ptr<FamilyWriter>(std::move(writer));
}

}  // namespace capstan::media
