#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "server/media/block_composer.h"
#include "server/media/block_fields.h"
#include "server/media/family_reader.h"
#include "server/media/foreign_set.h"
#include "server/media/medium_error.h"
#include "server/media/medium_index.h"
#include "server/media/medium_lister.h"
#include "server/media/peeked_source.h"
#include "server/media/set_map.h"
#include "server/media/sqlserver/container.h"
#include "server/media/sqlserver/listing.h"
#include "server/messages/messages.h"

namespace capstan::media {

Result<Bytes> MediumLister::BlockBytes(const BlockPosition& block, std::size_t size_min) {
  const std::size_t size = block.header.first_event_offset;
  if (size < size_min) {
    return Damaged(block.offset, "block size");
  }
  return cursor_.At(block.offset, size);
}

Result<Bytes> MediumLister::SealedContent(const StreamPosition& stream) {
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
    broken_from_ = covered_from_;
    return Damaged(covered_from_, "block or its description");
  }
  covered_from_ += covered;
  cursor_.Pin(covered_from_);
  return bytes.last(length);
}

Result<MediumLabel> MediumLister::ReadLabel() {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes start, cursor_.At(0, sizeof(TapeBlock)));
  if (start.empty()) {
    return SqlError(3254, source_->device_name());
  }
  constexpr std::string_view kTapeType = "TAPE";
  const std::size_t known = std::min(start.size(), kTapeType.size());
  if (std::memcmp(start.data(), kTapeType.data(), known) != 0) {
    return NotTapeFormat(source_->device_name(), start);
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
  label_ = {.header = ParseTape(bytes),
            .form = {.hard_filemarks = source_->hard_filemarks(),
                     .soft_filemark_units = tape.soft_filemark_units,
                     .format_logical_block = tape.format_logical_block,
                     .address_unit = std::max(tape.soft_filemark_units * 512U, 1U)},
            .has_set_map = tape.catalog_type == kCatalogType1};
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
      std::optional<MediaHeader> header = ParseMediaSetStream(content, label_.header);
      if (!header) {
        return Damaged(stream->data_offset, "description of the media set");
      }
      label_.header = *std::move(header);
      label_.foreign = false;
    } else {
      CAPSTAN_RETURN_IF_ERROR(sqlserver::AddTapeStream(&cursor_, *stream, &label_.header));
    }
  }
  cursor_.Unpin();
  if (cursor_.truncated()) {
    return CutOffInHead(source_->device_name(), source_->size_bytes());
  }
  label_.end = cursor_.offset();
  trail_ = FilemarkTrail(label_.form);
  return label_;
}

Status MediumLister::Walk(bool ends_in_order) {
  while (true) {
    block_offset_ = cursor_.offset();
    const Result<std::optional<BlockPosition>> block = cursor_.NextBlock();
    if (block.ok() && !block.value()) {
      return NoteTail();
    }
    Status status = block.ok() ? WalkBlock(*block.value()) : block.status();
    if (!status.ok()) {
      return ends_in_order ? status : EndsHere(std::move(status));
    }
  }
}

Status MediumLister::WalkBlock(const BlockPosition& block) {
  switch (block.header.type) {
    case BlockType::kSoftFilemark:
      return EndFilemark(block);
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
      if (in_set_) {
        CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> next, SkipFrames(block));
        if (next) {
          cursor_.ContinueAt(*next);
          return OkStatus();
        }
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
      end_of_family_ = (block.header.attributes & kEndOfFamily) != 0;
      BeginCoverage(block.offset);
      break;
    default:
      break;
  }
  return WalkStreams(block);
}

// Where the walk goes on behind the data that `block` begins with; nothing if only walking tells.
Result<std::optional<std::uint64_t>> MediumLister::SkipFrames(const BlockPosition& block) {
  const SetListing& listing = sets_.back();
  const bool has_head = listing.foreign ? !listing.foreign_set->by_sql_server : frame_size_ != 0;
  if (!has_head) {
    return std::optional<std::uint64_t>();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> filemark,
                           source_->SkipToFilemark(block.offset));
  // Compressed frames are as long as they are: their streams tell.
  if (filemark || listing.foreign || listing.set.compressed()) {
    return filemark;
  }
  return std::optional(block.offset + frame_size_);
}

Status MediumLister::BeginSet(const BlockPosition& block) {
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
  if (source_->hard_filemarks()) {
    listing.place = place_;
  }
  if (listing.foreign) {
    listing.foreign_set = ParseForeignSet(bytes);
  }
  in_set_ = true;
  frame_size_ = 0;
  final_known_ = false;
  end_blocks_ = 0;
  map_.reset();
  map_content_.clear();
  BeginCoverage(block.offset);
  return OkStatus();
}

void MediumLister::BeginCoverage(std::uint64_t offset) {
  if (ours()) {
    covered_from_ = offset;
    cursor_.Pin(offset);
  }
}

Status MediumLister::WalkStreams(const BlockPosition& block) {
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<StreamPosition> stream, cursor_.NextStream());
    if (!stream) {
      break;
    }
    if (stream->header.type == StreamType::kSetMap) {
      map_ = *stream;  // of whatever program; the next set's goes on with it
      if (source_->hard_filemarks() && stream->header.length <= 2 * kSetMapSizeMax) {
        CAPSTAN_ASSIGN_OR_RETURN(const Bytes content,
                                 cursor_.At(stream->data_offset, stream->header.length));
        map_content_.assign(content.begin(), content.end());
      }
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

Status MediumLister::OnDescriptor(const StreamPosition& stream, bool is_final) {
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

Status MediumLister::OnFamilies(const StreamPosition& stream) {
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
Status MediumLister::EndFilemark(const BlockPosition& block) {
  const std::uint64_t size = cursor_.offset() - block.offset;
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes mark, cursor_.At(block.offset, size));
  if (mark.size() < size) {
    return OkStatus();
  }
  if (source_->size_bytes() != 0) {
    trail_known_ = trail_known_ && (label_.foreign ? trail_.AdoptForeign(mark, block.offset)
                                                   : trail_.Pass(mark, block.offset));
  }
  if (in_set_ && end_blocks_ > 0) {
    SetListing& listing = sets_.back();
    listing.complete =
        listing.foreign ? sqlserver::IsComplete(listing) : final_known_ && end_blocks_ == 2;
    in_set_ = false;
  }
  place_ = source_->PlaceBehindFilemark(cursor_.offset()).value_or(TapePlace());
  const bool all_complete = sets_.empty() || sets_.back().complete;
  if (!in_set_ && all_complete) {
    before_good_ = std::move(good_);
    good_ = {.offset = cursor_.offset(),
             .sets = sets_.size(),
             .position = sets_.empty() ? std::uint16_t{0} : sets_.back().set.position,
             .marks = trail_.marks(),
             .form = trail_.form(),
             .map = map_,
             .map_content = map_content_,
             .place = place_};
  }
  return OkStatus();
}

Status MediumLister::ListBetween(const MediumIndex& index) {
  const std::vector<std::uint64_t>& marks = index.offsets;
  const std::uint32_t mark_size = index.form.filemark_size();
  if (marks.size() % 2 == 0) {
    return Damaged(marks.back(), "number of filemarks");
  }
  good_.form = index.form;
  for (std::size_t i = 0; i + 2 < marks.size(); i += 2) {
    CAPSTAN_RETURN_IF_ERROR(ReadSetAt(marks[i] + mark_size, marks[i + 1] + mark_size));
  }
  good_.offset = source_->size_bytes();
  good_.marks = index.filemarks;
  good_.map = map_;
  good_.sets = sets_.size();
  return OkStatus();
}

Status MediumLister::ReadSetAt(std::uint64_t set_offset, std::uint64_t end_offset) {
  cursor_.ContinueBehindFilemark(set_offset);
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> set, cursor_.NextBlock());
  if (!set || set->header.type != BlockType::kSet) {
    return Damaged(set_offset, "place of a backup set");
  }
  CAPSTAN_RETURN_IF_ERROR(BeginSet(*set));
  if (!ours()) {
    CAPSTAN_RETURN_IF_ERROR(WalkStreams(*set));
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> volume, cursor_.NextBlock());
    if (!volume || volume->header.type != BlockType::kVolume) {
      return Damaged(set_offset, "place of a volume");
    }
    CAPSTAN_RETURN_IF_ERROR(WalkBlock(*volume));
  }
  cursor_.Unpin();
  cursor_.ContinueBehindFilemark(end_offset);
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> end, cursor_.NextBlock());
  if (!end || end->header.type != BlockType::kEndOfSet) {
    return Damaged(end_offset, "place of an end of set");
  }
  CAPSTAN_RETURN_IF_ERROR(WalkBlock(*end));
  SetListing& listing = sets_.back();
  const bool whole = !ours() || (final_known_ && !listing.families.empty() &&
                                 listing.set.position == sets_.size());
  if (!whole || cursor_.truncated()) {
    return Damaged(end_offset, "end of the backup set");
  }
  listing.complete = true;
  listing.frames_end = end_offset - good_.form.filemark_size();
  in_set_ = false;
  return OkStatus();
}

std::vector<std::byte> SoftFilemark() {
  ByteVector mark;
  AppendFilemark(&mark, 1, 0, {});
  return mark;
}

namespace {

Result<MediumListing> ListMedium(MediumSource& source) {
  MediumLister lister(&source);
  CAPSTAN_ASSIGN_OR_RETURN(const MediumLabel label, lister.ReadLabel());
  bool ends_in_order = false;
  if (source.size_bytes() != 0 && label.header.software_vendor_id != kSqlServerVendorId) {
    CAPSTAN_ASSIGN_OR_RETURN(
        const std::optional<MediumIndex> index,
        ReadMediumIndex(source,
                        {.form = label.form, .first_mark = label.end, .foreign = label.foreign}));
    ends_in_order = index.has_value();
    if (index) {
      // If it fails, walking finds out why.
      MediumLister fast(&source);
      CAPSTAN_RETURN_IF_ERROR(fast.ReadLabel().status());
      if (fast.ListBetween(*index).ok()) {
        return fast.TakeListing();
      }
    }
  }
  CAPSTAN_RETURN_IF_ERROR(lister.Walk(ends_in_order));
  return lister.TakeListing();
}

}  // namespace

Result<MediaHeader> ReadLabel(MediumSource& source) {
  PeekedSource peeked(&source);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes start, peeked.Peek());
  if (sqlserver::IsContainer(start)) {
    sqlserver::UnpackedSource unpacked(&peeked);
    CAPSTAN_ASSIGN_OR_RETURN(MediumLabel label, MediumLister(&unpacked).ReadLabel());
    label.header.compressed = true;
    return std::move(label.header);
  }
  CAPSTAN_ASSIGN_OR_RETURN(MediumLabel label, MediumLister(&peeked).ReadLabel());
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
