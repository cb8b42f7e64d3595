#include "server/media/family_reader.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "server/media/block_fields.h"
#include "server/media/block_walker.h"
#include "server/media/frame.h"
#include "server/media/medium_error.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

// From SSET to the first frame there are at least four blocks; TAPE and filemark stand before them.
constexpr std::uint32_t kPreambleSizeMin = 3 * kPhysicalBlock;

// Gives BlockWalker's blocks their meaning. The order of a medium is Phase's order.
class MtfFamilyReader final : public FamilyReader, private BlockSink {
 public:
  MtfFamilyReader(std::string device_name, std::uint16_t position, FamilyVisitor* visitor)
      : walker_(std::move(device_name), this), wanted_position_(position), visitor_(visitor) {}

  Status Consume(std::span<const std::byte> chunk) override {
    if (failure_.ok()) {
      failure_ = walker_.Consume(chunk);
    }
    return failure_;
  }
  std::uint32_t next_read_size(std::uint32_t transfer_size_max) const override;
  bool done() const override { return phase_ == Phase::kDone; }
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
  Status OnFilemark(Bytes block);
  Status OnMediaSet(Bytes content);
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
  Status failure_;
  Phase phase_ = Phase::kTape;

  // Of the medium.
  MediaHeader tape_;
  std::optional<MediaHeader> header_;
  std::vector<std::uint32_t> marks_;  // physical blocks, ascending; as many as a filemark can hold
  std::uint32_t mark_count_ = 0;

  // Of the current set.
  std::uint16_t set_number_ = 0;
  std::uint64_t set_offset_ = 0;
  std::uint32_t next_control_block_id_ = 0;
  std::array<std::uint8_t, 16> set_block_guid_{};
  std::optional<BackupSet> set_;
  bool set_begin_seen_ = false;
  std::optional<BackupSet> final_set_;
  std::optional<std::vector<FamilySummary>> families_;
  FamilySummary seen_;

  // Of the current frame index.
  enum class IndexPart { kHead, kEntries, kSeal, kComplete };
  IndexPart index_part_ = IndexPart::kHead;
  std::uint64_t index_remaining_ = 0;
  std::uint32_t index_digest_ = 0;
};

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

Status MtfFamilyReader::Finish() {
  if (!failure_.ok() || done()) {
    return failure_;
  }
  const bool at_unit_start = walker_.at_block_start() && walker_.pending_size() == 0;
  if (walker_.offset() == 0 && walker_.pending_size() == 0) {
    return SqlError(3254, walker_.device_name());
  }
  if (phase_ == Phase::kSet && at_unit_start && set_number_ > 0) {
    return SqlError(3287, wanted_position_, walker_.device_name());
  }
  const std::uint64_t end = walker_.offset() + walker_.pending_size();
  return phase_ < Phase::kFrames ? CutOffInHead(walker_.device_name(), end)
                                 : CutOffInSet(walker_.device_name(), end);
}

Status MtfFamilyReader::OnBlock(const BlockHeader& header, Bytes block) {
  const BlockType type = header.type;
  if (phase_ == Phase::kTape) {
    return OnTape(block);
  }
  if (type == BlockType::kSoftFilemark) {
    return OnFilemark(block);
  }
  if (phase_ == Phase::kSet && type == BlockType::kSet) {
    CAPSTAN_RETURN_IF_ERROR(OnSet(block));
  } else if (phase_ == Phase::kSetHead) {
    if (!set_ && type != BlockType::kVolume) {
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
  ++set_number_;
  set_offset_ = walker_.offset();
  next_control_block_id_ = 0;
  set_.reset();
  set_begin_seen_ = false;
  final_set_.reset();
  families_.reset();
  seen_ = {.family_number = header_->family_number};
  index_part_ = IndexPart::kHead;
  index_digest_ = 0;
  const TapeAddress os_data = fixed.header.os_data;
  if (fixed.software_vendor_id != kSoftwareVendorId || os_data.size != sizeof(SetOsData) ||
      os_data.offset + sizeof(SetOsData) > block.size()) {
    return SqlError(3143, walker_.device_name());
  }
  set_block_guid_ = LoadStruct<SetOsData>(block.subspan(os_data.offset)).backup_set_guid;
  phase_ = Phase::kSetHead;
  return OkStatus();
}

// Every byte of a filemark is known beforehand.
Status MtfFamilyReader::OnFilemark(Bytes block) {
  const auto own_block = static_cast<std::uint32_t>(walker_.offset() / kPhysicalBlock);
  ByteVector expected;
  AppendFilemark(&expected, mark_count_ + 1, own_block, marks_);
  if (walker_.offset() % kPhysicalBlock != 0 ||
      !std::equal(block.begin(), block.end(), expected.begin(), expected.end())) {
    return Damaged("filemark");
  }
  if (marks_.size() == kFilemarkCapacity) {
    marks_.erase(marks_.begin());
  }
  marks_.push_back(own_block);
  ++mark_count_;
  switch (phase_) {
    case Phase::kTapeMark:
      phase_ = Phase::kSet;
      return OkStatus();
    case Phase::kFrames:
      walker_.ExpectFrames(0);
      phase_ = Phase::kFirstEnd;
      return OkStatus();
    case Phase::kSetMark:
      return OnSetEnd();
    default:
      return Damaged("filemark order");
  }
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
    case StreamType::kMediaSet:
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
  header_ = ParseMediaSetStream(content, tape_);
  if (phase_ != Phase::kTape || !header_) {
    return Damaged("description of the media set");
  }
  return OkStatus();
}

Status MtfFamilyReader::OnDescriptor(Bytes content) {
  const bool is_final = phase_ == Phase::kFirstEnd;
  std::optional<BackupSet> set = ParseDescriptorStream(content, is_final);
  if (!set || (phase_ != Phase::kSetHead && !is_final) || set->position != set_number_ ||
      set->backup_set_guid.bytes != set_block_guid_) {
    return Damaged("description of the backup set");
  }
  if (!is_final) {
    set_ = std::move(set);
    return OkStatus();
  }
  if (set->transfer_size != set_->transfer_size || set->files.size() != set_->files.size()) {
    return Damaged("final description of the backup set");
  }
  final_set_ = std::move(set);
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
  const FrameExpectation expected{.backup_set_guid = set_->backup_set_guid,
                                  .fla = (walker_.offset() - set_offset_) / kFormatLogicalBlock,
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
      if (!header_) {
        return SqlError(3143, walker_.device_name());
      }
      phase_ = Phase::kTapeMark;
      return visitor_->OnMediaHeader(*header_);
    case Phase::kSetHead:
      return set_begin_seen_ ? EndSetHead() : OkStatus();
    case Phase::kFirstEnd:
      return OnFirstEnd();
    default:
      return OkStatus();
  }
}

Status MtfFamilyReader::EndSetHead() {
  if (walker_.offset() % kPhysicalBlock != 0) {
    return Damaged("alignment of the first frame");
  }
  phase_ = Phase::kFrames;
  walker_.ExpectFrames(set_->transfer_size);
  return wanted() ? visitor_->OnSetBegin(*set_) : OkStatus();
}

Status MtfFamilyReader::OnFirstEnd() {
  if (!final_set_ || !families_ || index_part_ != IndexPart::kComplete ||
      std::find(families_->begin(), families_->end(), seen_) == families_->end()) {
    return Damaged("end of the backup set");
  }
  phase_ = Phase::kSecondEnd;
  return OkStatus();
}

Status MtfFamilyReader::OnSetEnd() {
  if (!wanted()) {
    phase_ = Phase::kSet;
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
                                                   FamilyVisitor* visitor) {
  return std::make_unique<MtfFamilyReader>(std::move(device_name), position, visitor);
}

}  // namespace capstan::media
