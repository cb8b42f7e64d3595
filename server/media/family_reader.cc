#include "server/media/family_reader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "server/media/block_fields.h"
#include "server/media/block_walker.h"
#include "server/media/filemark_trail.h"
#include "server/media/frame.h"
#include "server/media/frame_index_check.h"
#include "server/media/media_chain.h"
#include "server/media/medium_error.h"
#include "server/media/set_check.h"
#include "server/media/set_composer.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

// From SSET to the first frame there are at least four blocks; TAPE and filemark stand before them.
constexpr std::uint32_t kPreambleSizeMin = 3 * kPhysicalBlock;

// Gives BlockWalker's blocks their meaning. The order of a medium is Phase's order, and keeping it
// is what is done here; whether the contents are right is for MediaChain, SetCheck, FrameIndexCheck
// and FilemarkTrail to say.
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
    return phase_ == Phase::kNextMedium ? static_cast<std::uint16_t>(chain_.sequence_number() + 1)
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
  RecordRun next_records() const override { return index_.next_records(); }
  Status OnFrame(Bytes frame) override;
  Status OnBlockEnd() override;

  Status OnTape(Bytes block);
  Status OnSet(Bytes block);
  Status OnEndOfMedium(Bytes block);
  Status PassFilemark();
  Status OnSpan(Bytes content);
  Status OnDescriptor(Bytes content);
  Status EndTape();
  Status EndSetHead();
  Status OnFirstEnd();
  Status OnSetEnd();
  bool wanted() const { return set_.position() == wanted_position_; }
  Status Damaged(std::string_view what) const { return walker_.Damaged(walker_.offset(), what); }
  Status DamagedUnless(bool right, std::string_view what) const {
    return right ? OkStatus() : Damaged(what);
  }

  BlockWalker walker_;
  const std::uint16_t wanted_position_;
  FamilyVisitor* const visitor_;
  const Media media_;
  Status failure_;
  Phase phase_ = Phase::kTape;
  MediaChain chain_;

  // Of the medium.
  MediaHeader tape_;
  bool hard_filemarks_ = false;
  FilemarkTrail filemarks_;  // the soft ones
  std::uint64_t consumed_ = 0;

  // Of the current set.
  SetCheck set_;
  FrameIndexCheck index_;
  std::uint32_t next_control_block_id_ = 0;
  bool end_begun_ = false;
  Status suspicion_;  // what is wrong with the end, unless the medium was full there
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
    filemarks_.KeepTail(chunk);
  }
  return failure_;
}

std::uint32_t MtfFamilyReader::next_read_size(std::uint32_t transfer_size_max) const {
  std::uint64_t size = kPhysicalBlock;
  if (phase_ == Phase::kTape && walker_.offset() == 0) {
    size = kPreambleSizeMin;
  } else if (phase_ == Phase::kFrames && walker_.at_block_start()) {
    size = RoundUp(set_.description().transfer_size - walker_.pending_size(), kPhysicalBlock);
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
  // Where the end of a set was given up for want of room, what was begun is not whole.
  if (end_begun_ &&
      filemarks_.EndsAsFullMedium(
          consumed_, MakeSpan(set_.description(), chain_.sequence_number(), set_.seen()))) {
    phase_ = Phase::kNextMedium;
    return OkStatus();
  }
  if (!suspicion_.ok()) {
    return suspicion_;
  }
  if (walker_.offset() == 0 && walker_.pending_size() == 0) {
    return SqlError(3254, walker_.device_name());
  }
  if (phase_ == Phase::kSet && walker_.between_blocks() && set_.position() > 0 &&
      !chain_.continued()) {
    return SqlError(3287, wanted_position_, walker_.device_name());
  }
  const std::uint64_t end = walker_.offset() + walker_.pending_size();
  return phase_ < Phase::kFrames && chain_.on_first_medium()
             ? CutOffInHead(walker_.device_name(), end)
             : CutOffInSet(walker_.device_name(), end);
}

Status MtfFamilyReader::Finish() {
  CAPSTAN_RETURN_IF_ERROR(EndMedium());
  if (next_medium() != 0) {
    return SqlError(3256, walker_.device_name())
        .WithHint(fmt::format("the set goes on on medium {} of family {}", next_medium(),
                              chain_.header().family_number));
  }
  return OkStatus();
}

void MtfFamilyReader::BeginNextMedium() {
  chain_.BeginNextMedium(set_.seen());
  walker_.Restart();
  phase_ = Phase::kTape;
  hard_filemarks_ = false;
  filemarks_ = FilemarkTrail();
  consumed_ = 0;
  end_begun_ = false;
  suspicion_ = OkStatus();
}

Status MtfFamilyReader::OnBlock(const BlockHeader& header, Bytes block) {
  const BlockType type = header.type;
  if (phase_ == Phase::kTape) {
    return OnTape(block);
  }
  if (type == BlockType::kSoftFilemark) {
    const bool right = !hard_filemarks_ && filemarks_.Pass(block, walker_.offset());
    return right ? PassFilemark() : Damaged("filemark");
  }
  const bool at_medium_end =
      phase_ == Phase::kMediumEnd || (phase_ == Phase::kFirstEnd && !end_begun_);
  if (type == BlockType::kEndOfMedium && at_medium_end) {
    return OnEndOfMedium(block);
  }
  if (phase_ == Phase::kSet && type == BlockType::kSet) {
    CAPSTAN_RETURN_IF_ERROR(OnSet(block));
  } else if (phase_ == Phase::kSetHead) {
    if (!set_.described() && type != BlockType::kVolume) {
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
  chain_.ForgetSpan();
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
  return tape_.software_vendor_id == kSqlServerVendorId ? SqlError(65013, walker_.device_name())
                                                        : OkStatus();
}

Status MtfFamilyReader::OnSet(Bytes block) {
  if (block.size() < sizeof(SetBlock)) {
    return Damaged("SSET block size");
  }
  const auto fixed = LoadStruct<SetBlock>(block);
  if (fixed.mtf_minor != kMtfMinor) {
    return SqlError(3243, walker_.device_name(), kMtfMajor, fixed.mtf_minor, kMtfMajor, kMtfMinor);
  }
  next_control_block_id_ = 0;
  end_begun_ = false;
  index_ = FrameIndexCheck();
  phase_ = Phase::kSetHead;
  chain_.BeginSet();
  if (chain_.continued()) {
    return DamagedUnless(set_.Continue(block, walker_.offset()), "continuation of the backup set");
  }
  return set_.Begin(block, walker_.offset(), chain_.header().family_number)
             ? OkStatus()
             : SqlError(3143, walker_.device_name());
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
      // The medium was full before the end of the set was whole. It comes again on the next one.
      if (!end_begun_) {
        return Damaged("filemark order");
      }
      phase_ = Phase::kMediumEnd;
      return OkStatus();
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

Result<StreamUse> MtfFamilyReader::OnStream(const StreamHeader& header) {
  std::uint64_t size_max = kPhysicalBlock;
  switch (header.type) {
    case StreamType::kFrameIndex:
      if (phase_ != Phase::kFirstEnd || !index_.empty()) {
        return Damaged("frame index order");
      }
      return StreamUse::kRecords;
    case StreamType::kDescriptor:
      size_max = kDescriptorSizeMax + kPhysicalBlock;
      break;
    case StreamType::kMediaMap:
      size_max = chain_.media_map_size_max();
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
    return index_.Take(data, set_.seen(), &walker_);
  }
  if (!walker_.CheckSeal(data)) {
    return Damaged("block or its description");
  }
  switch (header.type) {
    case StreamType::kMediaSet:
      return DamagedUnless(phase_ == Phase::kTape && chain_.TakeMediaSet(data, tape_),
                           "description of the media set");
    case StreamType::kContinued:
    case StreamType::kMediumEnd:
      return OnSpan(data);
    case StreamType::kMediaMap:
      return DamagedUnless(phase_ == Phase::kFirstEnd && chain_.TakeMediaMap(data, set_.seen()),
                           "description of the media");
    case StreamType::kDescriptor:
      return OnDescriptor(data);
    case StreamType::kSetBegin:
      return DamagedUnless(phase_ == Phase::kSetHead && set_.TakeTransferSize(data),
                           "transfer size");
    case StreamType::kFamilies:
      return DamagedUnless(
          phase_ == Phase::kFirstEnd && set_.TakeFamilies(data, chain_.header().family_count),
          "description of the families");
    default:
      if (phase_ != Phase::kSecondEnd || data.size() != sizeof(SetEndStream)) {
        return Damaged("stream order");
      }
      phase_ = Phase::kSetMark;
      return OkStatus();
  }
}

// Of the medium before, on a TAPE; of this one, on its EOTM.
Status MtfFamilyReader::OnSpan(Bytes content) {
  if ((phase_ != Phase::kTape && phase_ != Phase::kMediumEndBody) || !chain_.TakeSpan(content)) {
    return Damaged("description of the span");
  }
  return DamagedUnless(
      phase_ == Phase::kTape || chain_.SpanIsRight(set_.description(), set_.seen()),
      "end of the medium");
}

Status MtfFamilyReader::OnDescriptor(Bytes content) {
  const bool is_final = phase_ == Phase::kFirstEnd;
  std::optional<BackupSet> set = ParseDescriptorStream(content, is_final);
  if (!set || (phase_ != Phase::kSetHead && !is_final) || !set_.IsOfThisSet(*set)) {
    return Damaged("description of the backup set");
  }
  return DamagedUnless(
      is_final ? set_.TakeFinalDescription(*std::move(set)) : set_.TakeDescription(*std::move(set)),
      "later description of the backup set");
}

Status MtfFamilyReader::OnFrame(Bytes frame) {
  ParsedFrame parsed;
  const std::optional<Damage> damage =
      set_.TakeFrame(frame, walker_.offset(), next_control_block_id_++, &parsed);
  if (damage) {
    return damage->unsupported ? SqlError(3239, walker_.device_name())
                               : walker_.Damaged(walker_.offset() + damage->offset, damage->what);
  }
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
      if (!chain_.continued()) {
        return Damaged("end of the medium");
      }
      phase_ = Phase::kMediumEndMark;
      return OkStatus();
    case Phase::kSetHead:
      return set_.transfer_size_confirmed() ? EndSetHead() : OkStatus();
    case Phase::kFirstEnd:
      return OnFirstEnd();
    default:
      return OkStatus();
  }
}

Status MtfFamilyReader::EndTape() {
  CAPSTAN_RETURN_IF_ERROR(
      chain_.EndTape(walker_.device_name(), set_.description_if_any(), set_.seen()));
  phase_ = Phase::kTapeMark;
  return chain_.on_first_medium() ? visitor_->OnMediaHeader(chain_.header()) : OkStatus();
}

Status MtfFamilyReader::EndSetHead() {
  if (walker_.offset() % kPhysicalBlock != 0) {
    return Damaged("alignment of the first frame");
  }
  phase_ = Phase::kFrames;
  walker_.ExpectFrames(set_.description().transfer_size);
  return wanted() && !chain_.continued() ? visitor_->OnSetBegin(set_.description()) : OkStatus();
}

Status MtfFamilyReader::OnFirstEnd() {
  if (!set_.EndIsRight() || !index_.complete() || !chain_.media_map_complete()) {
    return Damaged("end of the backup set");
  }
  phase_ = Phase::kSecondEnd;
  return OkStatus();
}

Status MtfFamilyReader::OnSetEnd() {
  if (!wanted()) {
    phase_ = Phase::kSet;
    chain_.ForgetSpan();
    return OkStatus();
  }
  phase_ = Phase::kDone;
  walker_.Stop();
  return visitor_->OnSetEnd(set_.TakeTrailer(), set_.seen());
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
