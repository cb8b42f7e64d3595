#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "server/media/block_composer.h"
#include "server/media/block_cursor.h"
#include "server/media/block_fields.h"
#include "server/media/family_reader.h"
#include "server/media/foreign_set.h"
#include "server/media/medium_error.h"
#include "server/media/peeked_source.h"
#include "server/media/sqlserver/container.h"
#include "server/media/sqlserver/listing.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

// Sets on one medium: a data set number has 16 bits.
constexpr std::size_t kSetsMax = std::numeric_limits<std::uint16_t>::max();

struct Label {
  MediaHeader header;
  bool foreign = true;
};

// Lists one medium: label first, then the sets from the filemarks or by walking.
class Lister {
 public:
  explicit Lister(MediumSource* source) : source_(source), cursor_(source) {}

  Result<Label> ReadLabel();
  // REQUIRES: ReadLabel succeeded.
  Result<std::vector<SetListing>> Walk();
  // The sets of a medium of ours between all its filemarks, which are physical blocks in ascending
  // order. Fails if anything is not where a medium that ended in good order has it.
  Result<std::vector<SetListing>> ListBetween(const std::vector<std::uint32_t>& marks);

 private:
  Status Damaged(std::uint64_t offset, std::string_view what) const {
    return MediumDamaged(source_->device_name(), offset, what);
  }
  Status WalkBlock(const BlockPosition& block);
  Status BeginSet(const BlockPosition& block);
  Status ReadSetAt(std::uint64_t set_offset, std::uint64_t end_offset);
  bool ours() const { return in_set_ && !sets_.back().foreign; }
  void BeginCoverage(std::uint64_t offset);
  Status WalkStreams(const BlockPosition& block);
  Status OnDescriptor(const StreamPosition& stream, bool is_final);
  Status OnFamilies(const StreamPosition& stream);
  Status EndFilemark();
  Result<Bytes> BlockBytes(const BlockPosition& block, std::size_t size_min);
  // The content of a stream of ours, whose seal is checked; empty if the medium ends before that.
  Result<Bytes> SealedContent(const StreamPosition& stream);

  MediumSource* const source_;
  BlockCursor cursor_;
  std::uint64_t covered_from_ = 0;  // by the next seal

  // Of the set being walked.
  std::vector<SetListing> sets_;
  bool in_set_ = false;
  std::uint32_t frame_size_ = 0;  // 0 until the set turns out to be ours
  bool final_known_ = false;
  int end_blocks_ = 0;
};

Result<Bytes> Lister::BlockBytes(const BlockPosition& block, std::size_t size_min) {
  const std::size_t size = block.header.first_event_offset;
  if (size < size_min) {
    return Damaged(block.offset, "block size");
  }
  return cursor_.At(block.offset, size);
}

Result<Bytes> Lister::SealedContent(const StreamPosition& stream) {
  const std::uint64_t length = stream.header.length;
  if (length < sizeof(StreamSeal) || length > kDescriptorSizeMax + kPhysicalBlock) {
    return Damaged(stream.data_offset, "stream length");
  }
  const std::uint64_t covered = stream.data_offset + length - covered_from_;
  if (covered > BlockCursor::kWindowMax) {
    return Damaged(stream.data_offset, "place of a stream");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, cursor_.At(covered_from_, covered));
  if (bytes.size() < covered) {
    return Bytes();
  }
  if (!SealIsRight(bytes)) {
    return Damaged(covered_from_, "block or its description");
  }
  covered_from_ += covered;
  cursor_.Pin(covered_from_);
  return bytes.last(length);
}

Result<Label> Lister::ReadLabel() {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes start, cursor_.At(0, sizeof(TapeBlock)));
  if (start.empty()) {
    return SqlError(3254, source_->device_name());
  }
  if (start.size() < sizeof(TapeBlock)) {
    return CutOffInHead(source_->device_name(), source_->size_bytes());
  }
  const auto tape = LoadStruct<TapeBlock>(start);
  if (tape.header.type != BlockType::kTape || !HeaderIsSound(tape.header)) {
    return NotTapeFormat(source_->device_name(), start);
  }
  if (tape.mtf_major != kMtfMajor) {
    return SqlError(3243, source_->device_name(), tape.mtf_major, 0, kMtfMajor, kMtfMinor);
  }
  if (!GeometryIsSound(tape)) {
    return Damaged(0, "sizes in the TAPE block");
  }
  cursor_.UseGeometry(tape.format_logical_block, tape.soft_filemark_units * 512U);
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> block, cursor_.NextBlock());
  cursor_.Pin(0);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, BlockBytes(*block, sizeof(TapeBlock)));
  if (bytes.size() < tape.header.first_event_offset) {
    return CutOffInHead(source_->device_name(), source_->size_bytes());
  }
  Label label{.header = ParseTape(bytes)};
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<StreamPosition> stream, cursor_.NextStream());
    if (!stream) {
      break;
    }
    if (stream->header.type == StreamType::kMediaSet) {
      CAPSTAN_ASSIGN_OR_RETURN(const Bytes content, SealedContent(*stream));
      if (content.empty()) {
        return CutOffInHead(source_->device_name(), source_->size_bytes());
      }
      std::optional<MediaHeader> header = ParseMediaSetStream(content, label.header);
      if (!header) {
        return Damaged(stream->data_offset, "description of the media set");
      }
      label = {.header = *std::move(header), .foreign = false};
    } else {
      CAPSTAN_RETURN_IF_ERROR(sqlserver::AddTapeStream(&cursor_, *stream, &label.header));
    }
  }
  cursor_.Unpin();
  if (cursor_.truncated()) {
    return CutOffInHead(source_->device_name(), source_->size_bytes());
  }
  return label;
}

Result<std::vector<SetListing>> Lister::Walk() {
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> block, cursor_.NextBlock());
    if (!block) {
      break;
    }
    CAPSTAN_RETURN_IF_ERROR(WalkBlock(*block));
  }
  return std::move(sets_);
}

Status Lister::WalkBlock(const BlockPosition& block) {
  switch (block.header.type) {
    case BlockType::kSoftFilemark:
      return EndFilemark();
    case BlockType::kSet:
      CAPSTAN_RETURN_IF_ERROR(BeginSet(block));
      break;
    case BlockType::kVolume:
      if (in_set_ && sets_.back().foreign) {
        CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, BlockBytes(block, sizeof(VolumeBlock)));
        if (bytes.size() >= sizeof(VolumeBlock)) {
          ParseForeignVolume(bytes, &*sets_.back().foreign_set);
          ParseVolume(bytes, &sets_.back().set);
        }
      }
      break;
    case BlockType::kFile:
      if (frame_size_ != 0) {
        CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> filemark,
                                 source_->SkipToFilemark(block.offset));
        cursor_.ContinueAt(filemark.value_or(block.offset + frame_size_));
        return OkStatus();
      }
      break;
    case BlockType::kEndOfMedium:
      if (in_set_) {
        sets_.back().continues = true;
        in_set_ = false;
      }
      break;
    case BlockType::kEndOfSet:
      ++end_blocks_;
      BeginCoverage(block.offset);
      break;
    default:
      break;
  }
  return WalkStreams(block);
}

Status Lister::BeginSet(const BlockPosition& block) {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, BlockBytes(block, sizeof(SetBlock)));
  if (sets_.size() == kSetsMax) {
    return Damaged(block.offset, "number of backup sets");
  }
  if (bytes.size() < sizeof(SetBlock)) {
    return OkStatus();  // the medium ends here
  }
  const auto fixed = LoadStruct<SetBlock>(bytes);
  SetListing& listing = sets_.emplace_back();
  listing.set = ParseSet(bytes);
  listing.foreign = fixed.software_vendor_id != kSoftwareVendorId;
  listing.complete = false;
  listing.continued = (fixed.header.attributes & kContinuation) != 0;
  listing.set_offset = block.offset;
  if (listing.foreign) {
    listing.foreign_set = ParseForeignSet(bytes);
  }
  in_set_ = true;
  frame_size_ = 0;
  final_known_ = false;
  end_blocks_ = 0;
  BeginCoverage(block.offset);
  return OkStatus();
}

void Lister::BeginCoverage(std::uint64_t offset) {
  if (ours()) {
    covered_from_ = offset;
    cursor_.Pin(offset);
  }
}

Status Lister::WalkStreams(const BlockPosition& block) {
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<StreamPosition> stream, cursor_.NextStream());
    if (!stream) {
      break;
    }
    if (in_set_ && sets_.back().foreign) {
      CAPSTAN_RETURN_IF_ERROR(sqlserver::AddStream(&cursor_, block.header, *stream, &sets_.back()));
    } else if (ours() && stream->header.type == StreamType::kDescriptor) {
      CAPSTAN_RETURN_IF_ERROR(OnDescriptor(*stream, block.header.type == BlockType::kEndOfSet));
    } else if (ours() && stream->header.type == StreamType::kFamilies) {
      CAPSTAN_RETURN_IF_ERROR(OnFamilies(*stream));
    }
  }
  // The volume's seal covers the SSET before it; no other one that matters here goes back so far.
  if (block.header.type != BlockType::kSet) {
    cursor_.Unpin();
  }
  return OkStatus();
}

Status Lister::OnDescriptor(const StreamPosition& stream, bool is_final) {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes content, SealedContent(stream));
  if (content.empty()) {
    return OkStatus();
  }
  std::optional<BackupSet> set = ParseDescriptorStream(content, is_final);
  if (!set) {
    return Damaged(stream.data_offset, "description of the backup set");
  }
  frame_size_ = set->transfer_size;
  final_known_ = is_final;
  sets_.back().set = *std::move(set);
  return OkStatus();
}

Status Lister::OnFamilies(const StreamPosition& stream) {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes content, SealedContent(stream));
  if (content.empty()) {
    return OkStatus();
  }
  std::optional<std::vector<FamilySummary>> families = ParseFamiliesStream(content);
  if (!families) {
    return Damaged(stream.data_offset, "description of the families");
  }
  sets_.back().families = *std::move(families);
  return OkStatus();
}

// A set is complete with the filemark behind its ESET.
Status Lister::EndFilemark() {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes last, cursor_.At(cursor_.offset() - 1, 1));
  if (!in_set_ || end_blocks_ == 0 || last.empty()) {
    return OkStatus();
  }
  SetListing& listing = sets_.back();
  listing.complete =
      listing.foreign ? sqlserver::IsComplete(listing) : final_known_ && end_blocks_ == 2;
  in_set_ = false;
  return OkStatus();
}

Result<std::vector<SetListing>> Lister::ListBetween(const std::vector<std::uint32_t>& marks) {
  for (std::size_t i = 0; i + 2 < marks.size(); i += 2) {
    CAPSTAN_RETURN_IF_ERROR(ReadSetAt((marks[i] + std::uint64_t{1}) * kPhysicalBlock,
                                      (marks[i + 1] + std::uint64_t{1}) * kPhysicalBlock));
  }
  return std::move(sets_);
}

Status Lister::ReadSetAt(std::uint64_t set_offset, std::uint64_t end_offset) {
  cursor_.ContinueAt(set_offset);
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> set, cursor_.NextBlock());
  if (!set || set->header.type != BlockType::kSet) {
    return Damaged(set_offset, "place of a backup set");
  }
  CAPSTAN_RETURN_IF_ERROR(BeginSet(*set));
  cursor_.ContinueAt(end_offset);
  cursor_.Unpin();
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> end, cursor_.NextBlock());
  if (!ours() || !end || end->header.type != BlockType::kEndOfSet) {
    return Damaged(end_offset, "place of an end of set");
  }
  CAPSTAN_RETURN_IF_ERROR(WalkBlock(*end));
  SetListing& listing = sets_.back();
  if (!final_known_ || listing.families.empty() || listing.set.position != sets_.size()) {
    return Damaged(end_offset, "end of the backup set");
  }
  listing.complete = true;
  return OkStatus();
}

// All filemarks in ascending order, from the one that ends the medium; empty if it does not tell.
Result<std::vector<std::uint32_t>> ReadMarks(MediumSource& source) {
  const std::uint64_t size = source.size_bytes();
  std::vector<std::uint32_t> marks;
  if (size < 4 * std::uint64_t{kPhysicalBlock} || size % kPhysicalBlock != 0 ||
      size / kPhysicalBlock > std::numeric_limits<std::uint32_t>::max()) {
    return marks;
  }
  ByteVector bytes(kPhysicalBlock);
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled,
                           source.ReadAt(size - kPhysicalBlock, std::span(bytes)));
  const auto mark = LoadStruct<SoftFilemarkHeader>(bytes);
  if (filled != bytes.size() || mark.used > kFilemarkCapacity) {
    return marks;
  }
  for (std::size_t i = mark.used; i-- > 0;) {
    marks.push_back(
        LoadStruct<std::uint32_t>(Bytes(bytes).subspan(sizeof(mark) + i * sizeof(std::uint32_t))));
  }
  const auto own_block = static_cast<std::uint32_t>(size / kPhysicalBlock - 1);
  ByteVector expected;
  AppendFilemark(&expected, mark.used + 1, own_block, marks);
  marks.push_back(own_block);
  const bool ascending =
      std::adjacent_find(marks.begin(), marks.end(), std::greater_equal<>()) == marks.end();
  if (bytes != expected || !ascending || marks.size() % 2 == 0) {
    marks.clear();
  }
  return marks;
}

}  // namespace

std::vector<std::byte> SoftFilemark() {
  ByteVector mark;
  AppendFilemark(&mark, 1, 0, {});
  return mark;
}

namespace {

Result<MediumListing> ListMedium(MediumSource& source) {
  Lister lister(&source);
  CAPSTAN_ASSIGN_OR_RETURN(Label label, lister.ReadLabel());
  if (!label.foreign && source.size_bytes() != 0) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::vector<std::uint32_t> marks, ReadMarks(source));
    if (!marks.empty()) {
      // If it fails, walking finds out why, and how much there is in spite of it.
      Result<std::vector<SetListing>> sets = Lister(&source).ListBetween(marks);
      if (sets.ok()) {
        return MediumListing{.header = std::move(label.header), .sets = std::move(sets).value()};
      }
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(std::vector<SetListing> sets, lister.Walk());
  return MediumListing{.header = std::move(label.header), .sets = std::move(sets)};
}

}  // namespace

Result<MediaHeader> ReadLabel(MediumSource& source) {
  PeekedSource peeked(&source);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes start, peeked.Peek());
  if (sqlserver::IsContainer(start)) {
    sqlserver::UnpackedSource unpacked(&peeked);
    CAPSTAN_ASSIGN_OR_RETURN(Label label, Lister(&unpacked).ReadLabel());
    label.header.compressed = true;
    return std::move(label.header);
  }
  CAPSTAN_ASSIGN_OR_RETURN(Label label, Lister(&peeked).ReadLabel());
  return std::move(label.header);
}

Result<MediumListing> ReadListing(MediumSource& source) {
  PeekedSource peeked(&source);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes start, peeked.Peek());
  if (sqlserver::BySqlServer(start)) {
    return sqlserver::ListMedium(peeked, start,
                                 [](MediumSource& medium) { return ListMedium(medium); });
  }
  return ListMedium(peeked);
}

}  // namespace capstan::media
