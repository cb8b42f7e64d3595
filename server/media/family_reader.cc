#include "server/media/family_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "server/media/block_fields.h"
#include "server/media/block_walker.h"
#include "server/media/frame.h"
#include "server/media/medium_error.h"
#include "server/media/set_composer.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

// From SSET to the first frame there are at least four blocks; TAPE and filemark stand before them.
constexpr std::uint32_t kPreambleSizeMin = 3 * kPhysicalBlock;

// Gives BlockWalker's blocks their meaning. The order of a medium is Phase's order.
class MtfFamilyReader final : public FamilyReader, private BlockSink {
 public:
  MtfFamilyReader(std::string device_name, std::uint16_t position, FamilyVisitor* visitor,
                  Media media)
      : walker_(std::move(device_name), this),
        wanted_position_(position),
        visitor_(visitor),
        media_(media) {}

  Status Consume(std::span<const std::byte> chunk) override;
  std::uint32_t next_read_size(std::uint32_t transfer_size_max) const override;
  bool may_read_ahead() const override {
    return phase_ >= Phase::kFrames && phase_ != Phase::kNextMedium;
  }
  bool done() const override { return phase_ == Phase::kDone; }
  Status OnFilemark() override;
  Status EndMedium() override;
  std::uint16_t next_medium() const override {
    return phase_ == Phase::kNextMedium ? static_cast<std::uint16_t>(sequence_number_ + 1)
                                        : std::uint16_t{0};
  }
  void BeginNextMedium() override;
  Status Finish() override;

 private:
  enum class Phase {
    kTape,       // TAPE
    kTapeMark,   // filemark
    kSet,        // SSET or the end of the medium
    kSetHead,    // VOLB, DIRB ... up to the one with the CPSB stream
    kFrames,     // FILE ... filemark
    kFirstEnd,   // ESET with the catalog
    kSecondEnd,  // ESET
    kSetMark,    // filemark
    // Instead of the rest of a set, on a medium that was full:
    kMediumEnd,      // EOTM
    kMediumEndBody,  // its streams
    kMediumEndMark,  // filemark
    kNextMedium,     // TAPE of the next medium
    kDone,
  };

  Status OnBlock(const BlockHeader& header, Bytes block) override;
  Result<StreamUse> OnStream(const StreamHeader& header) override;
  Status OnStreamData(const StreamHeader& header, Bytes data) override;
  RecordRun next_records() const override;
  Status OnFrame(Bytes frame) override;
  Status OnBlockEnd() override;

  Status OnTape(Bytes block);
  Status OnSet(Bytes block);
  Status OnContinuedSet(const SetBlock& fixed);
  Status OnEndOfMedium(Bytes block);
  Status OnSoftFilemark(Bytes block);
  Status PassFilemark();
  Status InterruptEnd();
  bool EndedAsFullMediumDoes() const;
  void KeepTail(Bytes chunk);
  Status OnMediaSet(Bytes content);
  Status OnSpan(Bytes content);
  Status OnMediaMap(Bytes content);
  bool SpanIsRight() const;
  Status CheckNextMedium(const MediaHeader& header) const;
  Status EndTape();
  Status OnDescriptor(Bytes content);
  Status OnSetBegin(Bytes content);
  Status OnFamilies(Bytes content);
  Status OnIndex(Bytes records);
  Status OnFirstEnd();
  Status OnSetEnd();
  Status EndSetHead();
  bool wanted() const { return set_number_ == wanted_position_; }
  Status Damaged(std::string_view what) const { return walker_.Damaged(walker_.offset(), what); }

  BlockWalker walker_;
  const std::uint16_t wanted_position_;
  FamilyVisitor* const visitor_;
  const Media media_;
  Status failure_;
  Phase phase_ = Phase::kTape;

  // Of the family.
  std::optional<MediaHeader> header_;
  std::vector<MediaMapEntry> full_media_;
  std::uint16_t sequence_number_ = 1;  // of the medium

  // Of the medium.
  MediaHeader tape_;
  std::optional<MediaHeader> media_set_;
  std::optional<SpanStream> span_;  // as its TAPE or its EOTM says
  bool hard_filemarks_ = false;
  std::uint64_t consumed_ = 0;
  std::vector<std::uint32_t> marks_;  // physical blocks, ascending; as many as a filemark can hold
  std::uint32_t mark_count_ = 0;

  // Of the current set.
  std::uint16_t set_number_ = 0;
  std::uint64_t set_offset_ = 0;
  std::uint32_t next_control_block_id_ = 0;
  std::array<std::uint8_t, 16> set_block_guid_{};
  std::optional<BackupSet> set_;
  bool described_ = false;  // on this medium
  bool set_begin_seen_ = false;
  std::uint64_t set_fla_ = 0;  // of its SSET on this medium
  FamilySummary seen_;
  FamilySummary before_medium_;  // what was seen on the media before this one

  // Of the end of the current set.
  bool end_begun_ = false;
  std::optional<BackupSet> final_set_;
  std::optional<std::vector<FamilySummary>> families_;
  bool media_map_right_ = false;
  ByteVector tail_;   // the last bytes of the medium, as far as it has arrived
  Status suspicion_;  // what is wrong with the end, unless the medium was full there

  // Of the current frame index.
  enum class IndexPart { kHead, kEntries, kSeal, kComplete };
  IndexPart index_part_ = IndexPart::kHead;
  std::uint64_t index_remaining_ = 0;
  std::uint32_t index_digest_ = 0;
};

Status MtfFamilyReader::Consume(std::span<const std::byte> chunk) {
  if (!failure_.ok()) {
    return failure_;
  }
  if (phase_ == Phase::kNextMedium) {
    return OkStatus();
  }
  consumed_ += chunk.size();
  if (suspicion_.ok()) {
    Status status = walker_.Consume(chunk);
    if (!status.ok() && media_ == Media::kSeveral && end_begun_ && !hard_filemarks_) {
      suspicion_ = std::move(status);
    } else {
      failure_ = std::move(status);
    }
  }
  if (media_ == Media::kSeveral && !hard_filemarks_) {
    KeepTail(chunk);
  }
  return failure_;
}

std::uint32_t MtfFamilyReader::next_read_size(std::uint32_t transfer_size_max) const {
  std::uint64_t size = kPhysicalBlock;
  if (phase_ == Phase::kTape && walker_.offset() == 0) {
    size = kPreambleSizeMin;
  } else if (phase_ == Phase::kFrames && walker_.at_block_start()) {
    size = RoundUp(set_->transfer_size - walker_.pending_size(), kPhysicalBlock);
  } else if (phase_ >= Phase::kFirstEnd) {
    size = transfer_size_max;
  } else if (phase_ == Phase::kSetHead) {
    // What is left of the descriptor cannot reach beyond the first frame.
    size = std::max<std::uint64_t>(walker_.stream_remaining(), size);
  }
  size = std::min<std::uint64_t>(size, transfer_size_max) / kPhysicalBlock * kPhysicalBlock;
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(size, kPhysicalBlock));
}

Status MtfFamilyReader::OnFilemark() {
  if (!failure_.ok() || done() || phase_ == Phase::kNextMedium) {
    return failure_;
  }
  hard_filemarks_ = hard_filemarks_ || phase_ == Phase::kTapeMark;
  // Anything but the end of a set is whole when a filemark comes.
  const bool in_end = phase_ == Phase::kFirstEnd || phase_ == Phase::kSecondEnd;
  if (!hard_filemarks_ || (!walker_.between_blocks() && !in_end)) {
    failure_ = Damaged("filemark");
    return failure_;
  }
  walker_.Interrupt();
  failure_ = PassFilemark();
  return failure_;
}

Status MtfFamilyReader::EndMedium() {
  if (!failure_.ok() || done() || phase_ == Phase::kNextMedium) {
    return failure_;
  }
  if (EndedAsFullMediumDoes()) {
    phase_ = Phase::kNextMedium;
    return OkStatus();
  }
  if (!suspicion_.ok()) {
    return suspicion_;
  }
  if (walker_.offset() == 0 && walker_.pending_size() == 0) {
    return SqlError(3254, walker_.device_name());
  }
  if (phase_ == Phase::kSet && walker_.between_blocks() && set_number_ > 0 && !span_) {
    return SqlError(3287, wanted_position_, walker_.device_name());
  }
  const std::uint64_t end = walker_.offset() + walker_.pending_size();
  return phase_ < Phase::kFrames && full_media_.empty() ? CutOffInHead(walker_.device_name(), end)
                                                        : CutOffInSet(walker_.device_name(), end);
}

Status MtfFamilyReader::Finish() {
  CAPSTAN_RETURN_IF_ERROR(EndMedium());
  if (next_medium() != 0) {
    return SqlError(3256, walker_.device_name())
        .WithHint(fmt::format("the set goes on on medium {} of family {}", next_medium(),
                              header_->family_number));
  }
  return OkStatus();
}

void MtfFamilyReader::BeginNextMedium() {
  full_media_.push_back({.media_sequence_number = sequence_number_,
                         .frame_count = seen_.frame_count - before_medium_.frame_count,
                         .payload_bytes = seen_.payload_bytes - before_medium_.payload_bytes});
  ++sequence_number_;
  before_medium_ = seen_;
  walker_.Restart();
  phase_ = Phase::kTape;
  media_set_.reset();
  span_.reset();
  hard_filemarks_ = false;
  consumed_ = 0;
  marks_.clear();
  mark_count_ = 0;
  end_begun_ = false;
  tail_.clear();
  suspicion_ = OkStatus();
}

// Where the end of a set was given up for want of room, soft filemarks stand amid what was begun.
// The last bytes of the medium tell.
void MtfFamilyReader::KeepTail(Bytes chunk) {
  constexpr std::size_t kTailSize = 3 * kPhysicalBlock;  // filemark EOTM filemark
  AppendBytes(&tail_, chunk.last(std::min(chunk.size(), kTailSize)));
  if (tail_.size() > kTailSize) {
    tail_.erase(tail_.begin(), tail_.end() - static_cast<std::ptrdiff_t>(kTailSize));
  }
}

bool MtfFamilyReader::EndedAsFullMediumDoes() const {
  if (!end_begun_ || tail_.size() < 3 * kPhysicalBlock || consumed_ % kPhysicalBlock != 0) {
    return false;
  }
  const auto first_mark = static_cast<std::uint32_t>(consumed_ / kPhysicalBlock - 3);
  std::vector<std::uint32_t> marks = marks_;
  ByteVector expected;
  AppendFilemark(&expected, mark_count_ + 1, first_mark, marks);
  AppendBytes(&expected, ComposeEndOfMedium({}, MakeSpan(*set_, sequence_number_, seen_)));
  marks.push_back(first_mark);
  AppendFilemark(&expected, mark_count_ + 2, first_mark + 2, marks);
  return tail_ == expected;
}

Status MtfFamilyReader::OnBlock(const BlockHeader& header, Bytes block) {
  const BlockType type = header.type;
  if (phase_ == Phase::kTape) {
    return OnTape(block);
  }
  if (type == BlockType::kSoftFilemark) {
    return OnSoftFilemark(block);
  }
  const bool at_medium_end =
      phase_ == Phase::kMediumEnd || (phase_ == Phase::kFirstEnd && !end_begun_);
  if (type == BlockType::kEndOfMedium && at_medium_end) {
    return OnEndOfMedium(block);
  }
  if (phase_ == Phase::kSet && type == BlockType::kSet) {
    CAPSTAN_RETURN_IF_ERROR(OnSet(block));
  } else if (phase_ == Phase::kSetHead) {
    if (!described_ && type != BlockType::kVolume) {
      return SqlError(3143, walker_.device_name());
    }
    if (type != BlockType::kVolume && type != BlockType::kDirectory) {
      return Damaged("block order");
    }
  } else if ((phase_ != Phase::kFirstEnd && phase_ != Phase::kSecondEnd) ||
             type != BlockType::kEndOfSet || block.size() < sizeof(EndOfSetBlock)) {
    return Damaged("block order");
  }
  if (header.control_block_id != next_control_block_id_++) {
    return Damaged("control block id");
  }
  end_begun_ = end_begun_ || type == BlockType::kEndOfSet;
  return OkStatus();
}

Status MtfFamilyReader::OnEndOfMedium(Bytes block) {
  if (block.size() < sizeof(EndOfMediumBlock)) {
    return Damaged("EOTM block size");
  }
  span_.reset();
  phase_ = Phase::kMediumEndBody;
  return OkStatus();
}

Status MtfFamilyReader::OnTape(Bytes block) {
  if (block.size() < sizeof(TapeBlock)) {
    return Damaged("TAPE block size");
  }
  const auto tape = LoadStruct<TapeBlock>(block);
  if (tape.mtf_major != kMtfMajor) {
    return SqlError(3243, walker_.device_name(), tape.mtf_major, 0, kMtfMajor, kMtfMinor);
  }
  tape_ = ParseTape(block);
  return OkStatus();
}

Status MtfFamilyReader::OnSet(Bytes block) {
  if (block.size() < sizeof(SetBlock)) {
    return Damaged("SSET block size");
  }
  const auto fixed = LoadStruct<SetBlock>(block);
  if (fixed.mtf_minor != kMtfMinor) {
    return SqlError(3243, walker_.device_name(), kMtfMajor, fixed.mtf_minor, kMtfMajor, kMtfMinor);
  }
  set_offset_ = walker_.offset();
  next_control_block_id_ = 0;
  described_ = false;
  set_begin_seen_ = false;
  end_begun_ = false;
  final_set_.reset();
  families_.reset();
  media_map_right_ = false;
  index_part_ = IndexPart::kHead;
  index_digest_ = 0;
  phase_ = Phase::kSetHead;
  if (span_) {
    return OnContinuedSet(fixed);
  }
  ++set_number_;
  set_.reset();
  seen_ = {.family_number = header_->family_number};
  before_medium_ = seen_;
  set_fla_ = 0;
  const TapeAddress os_data = fixed.header.os_data;
  if (fixed.software_vendor_id != kSoftwareVendorId || os_data.size != sizeof(SetOsData) ||
      os_data.offset + sizeof(SetOsData) > block.size()) {
    return SqlError(3143, walker_.device_name());
  }
  set_block_guid_ = LoadStruct<SetOsData>(block.subspan(os_data.offset)).backup_set_guid;
  return OkStatus();
}

// MTF 1.00a, "Normal EOM processing": the blocks in front of the frames are repeated; format
// logical blocks go on being counted as if they were not.
Status MtfFamilyReader::OnContinuedSet(const SetBlock& fixed) {
  set_fla_ = seen_.frame_count * (set_->transfer_size / kFormatLogicalBlock);
  if ((fixed.header.attributes & kContinuation) == 0 || fixed.set_number != set_number_ ||
      fixed.header.fla != set_fla_) {
    return Damaged("continuation of the backup set");
  }
  return OkStatus();
}

// Every byte of a filemark is known beforehand.
Status MtfFamilyReader::OnSoftFilemark(Bytes block) {
  const auto own_block = static_cast<std::uint32_t>(walker_.offset() / kPhysicalBlock);
  ByteVector expected;
  AppendFilemark(&expected, mark_count_ + 1, own_block, marks_);
  if (hard_filemarks_ || walker_.offset() % kPhysicalBlock != 0 ||
      !std::equal(block.begin(), block.end(), expected.begin(), expected.end())) {
    return Damaged("filemark");
  }
  if (marks_.size() == kFilemarkCapacity) {
    marks_.erase(marks_.begin());
  }
  marks_.push_back(own_block);
  ++mark_count_;
  return PassFilemark();
}

Status MtfFamilyReader::PassFilemark() {
  switch (phase_) {
    case Phase::kTapeMark:
      phase_ = Phase::kSet;
      return OkStatus();
    case Phase::kFrames:
      walker_.ExpectFrames(0);
      phase_ = Phase::kFirstEnd;
      return OkStatus();
    case Phase::kFirstEnd:
    case Phase::kSecondEnd:
      return InterruptEnd();
    case Phase::kSetMark:
      return OnSetEnd();
    case Phase::kMediumEndMark:
      phase_ = Phase::kNextMedium;
      walker_.Stop();
      return OkStatus();
    default:
      return Damaged("filemark order");
  }
}

// The medium was full before the end of the set was whole. It comes again on the next one.
Status MtfFamilyReader::InterruptEnd() {
  if (!end_begun_) {
    return Damaged("filemark order");
  }
  phase_ = Phase::kMediumEnd;
  return OkStatus();
}

Result<StreamUse> MtfFamilyReader::OnStream(const StreamHeader& header) {
  std::uint64_t size_max = kPhysicalBlock;
  switch (header.type) {
    case StreamType::kFrameIndex:
      if (phase_ != Phase::kFirstEnd || index_part_ != IndexPart::kHead) {
        return Damaged("frame index order");
      }
      return StreamUse::kRecords;
    case StreamType::kDescriptor:
      size_max = kDescriptorSizeMax + kPhysicalBlock;
      break;
    case StreamType::kMediaMap:
      size_max = sizeof(MediaMapStream) + sizeof(StreamSeal) +
                 (full_media_.size() + 1) * sizeof(MediaMapEntry);
      break;
    case StreamType::kMediaSet:
    case StreamType::kContinued:
    case StreamType::kMediumEnd:
    case StreamType::kSetBegin:
    case StreamType::kFamilies:
    case StreamType::kSetEnd:
      break;
    default:
      return StreamUse::kSkip;
  }
  if (header.length > size_max) {
    return Damaged("stream length");
  }
  return StreamUse::kCollect;
}

Status MtfFamilyReader::OnStreamData(const StreamHeader& header, Bytes data) {
  if (header.type == StreamType::kFrameIndex) {
    return OnIndex(data);
  }
  if (!walker_.CheckSeal(data)) {
    return Damaged("block or its description");
  }
  switch (header.type) {
    case StreamType::kMediaSet:
      return OnMediaSet(data);
    case StreamType::kContinued:
    case StreamType::kMediumEnd:
      return OnSpan(data);
    case StreamType::kMediaMap:
      return OnMediaMap(data);
    case StreamType::kDescriptor:
      return OnDescriptor(data);
    case StreamType::kSetBegin:
      return OnSetBegin(data);
    case StreamType::kFamilies:
      return OnFamilies(data);
    default:
      if (phase_ != Phase::kSecondEnd || data.size() != sizeof(SetEndStream)) {
        return Damaged("stream order");
      }
      phase_ = Phase::kSetMark;
      return OkStatus();
  }
}

Status MtfFamilyReader::OnMediaSet(Bytes content) {
  media_set_ = ParseMediaSetStream(content, tape_);
  if (phase_ != Phase::kTape || !media_set_) {
    return Damaged("description of the media set");
  }
  return OkStatus();
}

// Of the medium before, on a TAPE; of this one, on its EOTM.
Status MtfFamilyReader::OnSpan(Bytes content) {
  span_ = ParseSpanStream(content);
  if ((phase_ != Phase::kTape && phase_ != Phase::kMediumEndBody) || !span_) {
    return Damaged("description of the span");
  }
  return phase_ == Phase::kTape || SpanIsRight() ? OkStatus() : Damaged("end of the medium");
}

Status MtfFamilyReader::OnMediaMap(Bytes content) {
  const std::optional<std::vector<MediaMapEntry>> media = ParseMediaMapStream(content);
  std::vector<MediaMapEntry> seen = full_media_;
  seen.push_back({.media_sequence_number = sequence_number_,
                  .frame_count = seen_.frame_count - before_medium_.frame_count,
                  .payload_bytes = seen_.payload_bytes - before_medium_.payload_bytes});
  media_map_right_ =
      phase_ == Phase::kFirstEnd && media && media->size() == seen.size() &&
      std::memcmp(media->data(), seen.data(), seen.size() * sizeof(MediaMapEntry)) == 0;
  return media_map_right_ ? OkStatus() : Damaged("description of the media");
}

Status MtfFamilyReader::OnDescriptor(Bytes content) {
  const bool is_final = phase_ == Phase::kFirstEnd;
  std::optional<BackupSet> set = ParseDescriptorStream(content, is_final);
  if (!set || (phase_ != Phase::kSetHead && !is_final) || set->position != set_number_ ||
      set->backup_set_guid.bytes != set_block_guid_) {
    return Damaged("description of the backup set");
  }
  if (!is_final && !described_ && !span_) {
    set_ = std::move(set);
    described_ = true;
    return OkStatus();
  }
  described_ = true;
  if (set->transfer_size != set_->transfer_size || set->files.size() != set_->files.size()) {
    return Damaged("later description of the backup set");
  }
  if (is_final) {
    final_set_ = std::move(set);
  }
  return OkStatus();
}

Status MtfFamilyReader::OnSetBegin(Bytes content) {
  if (phase_ != Phase::kSetHead || !set_ || content.size() != sizeof(SetBeginStream) ||
      LoadStruct<SetBeginStream>(content).transfer_size != set_->transfer_size) {
    return Damaged("transfer size");
  }
  set_begin_seen_ = true;
  return OkStatus();
}

Status MtfFamilyReader::OnFamilies(Bytes content) {
  families_ = ParseFamiliesStream(content);
  if (phase_ != Phase::kFirstEnd || !families_ || families_->size() != header_->family_count) {
    return Damaged("description of the families");
  }
  return OkStatus();
}

RecordRun MtfFamilyReader::next_records() const {
  switch (index_part_) {
    case IndexPart::kHead:
      return {.record_size = sizeof(FrameIndexStream), .size_bytes = sizeof(FrameIndexStream)};
    case IndexPart::kEntries:
      return {.record_size = sizeof(IndexEntry), .size_bytes = index_remaining_};
    case IndexPart::kSeal:
    case IndexPart::kComplete:
      break;
  }
  return {.record_size = sizeof(StreamSeal), .size_bytes = sizeof(StreamSeal)};
}

Status MtfFamilyReader::OnIndex(Bytes records) {
  switch (index_part_) {
    case IndexPart::kHead: {
      const auto head = LoadStruct<FrameIndexStream>(records);
      if (head.version != kStreamVersion || head.entry_size != sizeof(IndexEntry) ||
          head.count != seen_.frame_count) {
        return Damaged("frame index");
      }
      index_remaining_ = head.count * sizeof(IndexEntry);
      break;
    }
    case IndexPart::kEntries:
      index_digest_ = Crc32c(index_digest_, records);
      index_remaining_ -= records.size();
      break;
    case IndexPart::kSeal:
      if (!walker_.CheckSeal(records) || index_digest_ != seen_.digest) {
        return Damaged("frame index");
      }
      index_part_ = IndexPart::kComplete;
      return OkStatus();
    case IndexPart::kComplete:
      return Damaged("frame index length");
  }
  index_part_ = index_remaining_ > 0 ? IndexPart::kEntries : IndexPart::kSeal;
  return OkStatus();
}

Status MtfFamilyReader::OnFrame(Bytes frame) {
  ParsedFrame parsed;
  const FrameExpectation expected{
      .backup_set_guid = set_->backup_set_guid,
      .fla = set_fla_ + (walker_.offset() - set_offset_) / kFormatLogicalBlock,
      .control_block_id = next_control_block_id_++,
      .file_count = static_cast<std::uint32_t>(set_->files.size())};
  if (const std::optional<Damage> damage = ParseFrame(frame, expected, &parsed)) {
    if (damage->unsupported) {
      return SqlError(3239, walker_.device_name());
    }
    return walker_.Damaged(walker_.offset() + damage->offset, damage->what);
  }
  const IndexEntry entry = MakeIndexEntry(parsed.extent);
  seen_.frame_count += 1;
  seen_.payload_bytes += parsed.extent.length;
  seen_.digest = Crc32c(seen_.digest, AsBytes(entry));
  if (!wanted()) {
    return OkStatus();
  }
  return visitor_->OnFrame({.extent = parsed.extent,
                            .payload = frame.subspan(parsed.payload_offset, parsed.extent.length),
                            .medium_offset = walker_.offset()});
}

Status MtfFamilyReader::OnBlockEnd() {
  switch (phase_) {
    case Phase::kTape:
      return EndTape();
    case Phase::kMediumEndBody:
      if (!span_) {
        return Damaged("end of the medium");
      }
      phase_ = Phase::kMediumEndMark;
      return OkStatus();
    case Phase::kSetHead:
      return set_begin_seen_ ? EndSetHead() : OkStatus();
    case Phase::kFirstEnd:
      return OnFirstEnd();
    default:
      return OkStatus();
  }
}

Status MtfFamilyReader::EndTape() {
  const bool first = full_media_.empty();
  if (!media_set_) {
    return SqlError(first ? 3143 : 3258, walker_.device_name());
  }
  phase_ = Phase::kTapeMark;
  if (!first) {
    return CheckNextMedium(*media_set_);
  }
  header_ = media_set_;
  sequence_number_ = header_->media_sequence_number;
  if (span_) {
    return SqlError(3249, walker_.device_name())
        .WithHint(fmt::format("it is medium {} of family {}; the set begins on an earlier one",
                              sequence_number_, header_->family_number));
  }
  return visitor_->OnMediaHeader(*header_);
}

// Whether span_ says what was seen so far.
bool MtfFamilyReader::SpanIsRight() const {
  const SpanStream expected = MakeSpan(*set_, sequence_number_, seen_);
  return std::memcmp(&*span_, &expected, sizeof(SpanStream) - sizeof(StreamSeal)) == 0;
}

Status MtfFamilyReader::CheckNextMedium(const MediaHeader& header) const {
  const std::string& device = walker_.device_name();
  if (header.media_set_id != header_->media_set_id) {
    return SqlError(3258, device);
  }
  if (header.family_number != header_->family_number ||
      header.media_family_id != header_->media_family_id) {
    return SqlError(3133, device, header.media_sequence_number, header.family_number,
                    sequence_number_, header_->family_number);
  }
  if (header.media_sequence_number != sequence_number_) {
    return SqlError(3247, device, header.media_sequence_number, sequence_number_);
  }
  if (!span_ || !SpanIsRight()) {
    return SqlError(3232, device, sequence_number_, header_->family_number);
  }
  return OkStatus();
}

Status MtfFamilyReader::EndSetHead() {
  if (walker_.offset() % kPhysicalBlock != 0) {
    return Damaged("alignment of the first frame");
  }
  phase_ = Phase::kFrames;
  walker_.ExpectFrames(set_->transfer_size);
  return wanted() && !span_ ? visitor_->OnSetBegin(*set_) : OkStatus();
}

Status MtfFamilyReader::OnFirstEnd() {
  if (!final_set_ || !families_ || index_part_ != IndexPart::kComplete ||
      std::find(families_->begin(), families_->end(), seen_) == families_->end() ||
      media_map_right_ == full_media_.empty()) {
    return Damaged("end of the backup set");
  }
  phase_ = Phase::kSecondEnd;
  return OkStatus();
}

Status MtfFamilyReader::OnSetEnd() {
  if (!wanted()) {
    phase_ = Phase::kSet;
    span_.reset();
    return OkStatus();
  }
  phase_ = Phase::kDone;
  walker_.Stop();
  return visitor_->OnSetEnd({.set = *std::move(final_set_), .families = *std::move(families_)},
                            seen_);
}

}  // namespace

Status VerifyFrame(const FrameView& frame, std::string_view device_name) {
  if (Crc32c(0, frame.payload) == frame.extent.crc32c) {
    return OkStatus();
  }
  return SqlError(65004, device_name, frame.medium_offset,
                  "the checksum of a frame's data is wrong");
}

std::unique_ptr<FamilyReader> FamilyReader::Create(std::string device_name, std::uint16_t position,
                                                   FamilyVisitor* visitor, Media media) {
  return std::make_unique<MtfFamilyReader>(std::move(device_name), position, visitor, media);
}

}  // namespace capstan::media
