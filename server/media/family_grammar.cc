#include "server/media/family_grammar.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "server/media/block_fields.h"
#include "server/media/set_composer.h"
#include "server/messages/messages.h"

namespace capstan::media {

FamilyGrammar::FamilyGrammar(std::string device_name, std::uint16_t position,
                             FamilyVisitor* visitor, const ReaderOptions& options)
    : walker_(std::move(device_name), this),
      wanted_position_(position),
      visitor_(visitor),
      options_(options) {}

void FamilyGrammar::BeginNextMedium() {
  chain_.BeginNextMedium(set_.seen());
  walker_.Restart();
  phase_ = Phase::kTape;
  hard_filemarks_ = false;
  filemarks_ = FilemarkTrail();
  end_begun_ = false;
}

Status FamilyGrammar::OnHardFilemark() {
  hard_filemarks_ = hard_filemarks_ || phase_ == Phase::kTapeMark;
  // Anything but the end of a set is whole when a filemark comes.
  const bool in_end = phase_ == Phase::kFirstEnd || phase_ == Phase::kSecondEnd;
  if (!hard_filemarks_ || (!walker_.between_blocks() && !in_end)) {
    Status failure = Damaged("filemark");
    if (phase_ != Phase::kFrames || !hard_filemarks_ || !tolerable(failure)) {
      return failure;
    }
    OpenDamage(failure, walker_.offset());
    losses_.SkipRest();
  }
  walker_.Interrupt();
  CAPSTAN_RETURN_IF_ERROR(CloseDamage(walker_.offset()));
  return PassFilemark();
}

bool FamilyGrammar::EndsAsFullMedium(std::uint64_t size) {
  // Where the end of a set was given up for want of room, what was begun is not whole.
  if (!end_begun_ ||
      !filemarks_.EndsAsFullMedium(
          size, MakeSpan(set_.description(), chain_.sequence_number(), set_.seen()))) {
    return false;
  }
  phase_ = Phase::kNextMedium;
  return true;
}

std::uint64_t FamilyGrammar::TakeJump() {
  const std::uint64_t jump = std::exchange(jump_, 0);
  if (jump != 0) {
    walker_.ContinueAt(jump);
  }
  return jump;
}

bool FamilyGrammar::IsRightFilemark(Bytes block) {
  const std::uint64_t offset = walker_.offset();
  if (hard_filemarks_) {
    return false;
  }
  if (phase_ == Phase::kOtherSet || (chain_.foreign() && phase_ < Phase::kSet)) {
    return filemarks_.AdoptForeign(block, offset);
  }
  if (phase_ == Phase::kEntryMark) {
    return filemarks_.Adopt(block, offset);
  }
  return filemarks_.Pass(block, offset) || (damage_seen_ && filemarks_.Adopt(block, offset));
}

Status FamilyGrammar::OnBlock(const BlockHeader& header, Bytes block) {
  const BlockType type = header.type;
  if (phase_ == Phase::kTape) {
    return OnTape(block);
  }
  if (type == BlockType::kSoftFilemark) {
    return IsRightFilemark(block) ? PassFilemark() : Damaged("filemark");
  }
  if (phase_ == Phase::kOtherSet) {
    end_begun_ = end_begun_ || type == BlockType::kEndOfSet;
    return OkStatus();
  }
  const bool at_medium_end =
      phase_ == Phase::kMediumEnd || (phase_ == Phase::kFirstEnd && !end_begun_);
  if (type == BlockType::kEndOfMedium && at_medium_end) {
    return OnEndOfMedium(block);
  }
  if (phase_ == Phase::kSet && type == BlockType::kSet) {
    CAPSTAN_RETURN_IF_ERROR(OnSet(block));
    if (phase_ == Phase::kOtherSet) {
      return OkStatus();
    }
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
  if (losses_.open() && type == BlockType::kEndOfSet &&
      header.control_block_id >= next_control_block_id_) {
    losses_.Close(header.control_block_id - next_control_block_id_);
    next_control_block_id_ = header.control_block_id;
  }
  if (header.control_block_id != next_control_block_id_++) {
    return Damaged("control block id");
  }
  if (type == BlockType::kEndOfSet && !end_begun_) {
    end_begun_ = true;
    end_offset_ = walker_.offset();
  }
  return OkStatus();
}

Status FamilyGrammar::OnEndOfMedium(Bytes block) {
  if (block.size() < sizeof(EndOfMediumBlock)) {
    return Damaged("EOTM block size");
  }
  chain_.ForgetSpan();
  phase_ = Phase::kMediumEndBody;
  return OkStatus();
}

Status FamilyGrammar::OnTape(Bytes block) {
  if (block.size() < sizeof(TapeBlock)) {
    return Damaged("TAPE block size");
  }
  const auto tape = LoadStruct<TapeBlock>(block);
  if (tape.mtf_major != kMtfMajor) {
    return SqlError(3243, walker_.device_name(), tape.mtf_major, 0, kMtfMajor, kMtfMinor);
  }
  if (!GeometryIsSound(tape)) {
    return Damaged("sizes in the TAPE block");
  }
  tape_ = ParseTape(block);
  chain_.TakeTape(tape_);
  walker_.UseBlockSize(tape.format_logical_block);
  set_.UseBlockSize(tape.format_logical_block);
  if (tape.soft_filemark_units != 0) {
    filemarks_ = FilemarkTrail({.soft_filemark_units = tape.soft_filemark_units,
                                .format_logical_block = tape.format_logical_block,
                                .address_unit = tape.soft_filemark_units * 512U});
  }
  return OkStatus();
}

Status FamilyGrammar::OnSet(Bytes block) {
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
  if (damage_seen_ && fixed.set_number > set_.position() + 1) {
    // Whole sets were passed over.
    set_.SkipTo(static_cast<std::uint16_t>(fixed.set_number - 1));
    if (set_.position() >= wanted_position_) {
      return damage_failure_;
    }
  }
  chain_.BeginSet();
  if (chain_.continued()) {
    return DamagedUnless(set_.Continue(block, walker_.offset()), "continuation of the backup set");
  }
  losses_ = FrameLosses();
  if (set_.Begin(block, walker_.offset(), chain_.header().family_number)) {
    return OkStatus();
  }
  if (set_.position() >= wanted_position_) {
    return SqlError(3143, walker_.device_name());
  }
  phase_ = Phase::kOtherSet;
  return OkStatus();
}

Status FamilyGrammar::PassFilemark() {
  switch (phase_) {
    case Phase::kTapeMark:
      phase_ = Phase::kSet;
      if (!hard_filemarks_ && wanted_position_ > 1 &&
          options_.set_offset > walker_.offset() + filemarks_.form().filemark_size()) {
        jump_ = options_.set_offset - filemarks_.form().filemark_size();
        set_.SkipTo(static_cast<std::uint16_t>(wanted_position_ - 1));
        phase_ = Phase::kEntryMark;
        walker_.Stop();
      }
      if (hard_filemarks_ && options_.set_place) {
        place_ = std::exchange(options_.set_place, std::nullopt);  // of the first medium alone
        set_.SkipTo(static_cast<std::uint16_t>(wanted_position_ - 1));
        chain_.ForgetSpan();
      }
      return OkStatus();
    case Phase::kEntryMark:
      phase_ = Phase::kSet;
      return OkStatus();
    case Phase::kOtherSet:
      if (end_begun_) {
        phase_ = Phase::kSet;
      }
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

Result<StreamUse> FamilyGrammar::OnStream(const StreamHeader& header) {
  if (phase_ == Phase::kOtherSet) {
    return StreamUse::kSkip;
  }
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
    case StreamType::kAuthentication:
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

Status FamilyGrammar::OnStreamData(const StreamHeader& header, Bytes data) {
  if (header.type == StreamType::kFrameIndex) {
    return index_.Take(data, set_.seen(), losses_, &walker_);
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
      return OnFamilies(data);
    case StreamType::kAuthentication:
      return DamagedUnless((phase_ == Phase::kSetHead || phase_ == Phase::kSecondEnd) &&
                               set_.TakeProof(data, phase_ == Phase::kSecondEnd),
                           "proof of the backup set");
    default:
      if (phase_ != Phase::kSecondEnd || data.size() != sizeof(SetEndStream)) {
        return Damaged("stream order");
      }
      phase_ = Phase::kSetMark;
      return OkStatus();
  }
}

Status FamilyGrammar::OnFamilies(Bytes content) {
  if (phase_ != Phase::kFirstEnd || !set_.TakeFamilies(content, chain_.header().family_count)) {
    return Damaged("description of the families");
  }
  set_.KeepFamilies(content);
  const std::optional<FamilySummary> own = set_.listed();
  return DamagedUnless(!losses_.any() || (own && AdoptCount(*own)), "description of the families");
}

bool FamilyGrammar::AdoptCount(const FamilySummary& summary) {
  set_.Adopt(summary);
  return losses_.CloseAt(summary.frame_count);
}

// Of the medium before, on a TAPE; of this one, on its EOTM.
Status FamilyGrammar::OnSpan(Bytes content) {
  if ((phase_ != Phase::kTape && phase_ != Phase::kMediumEndBody) || !chain_.TakeSpan(content)) {
    return Damaged("description of the span");
  }
  if (phase_ == Phase::kMediumEndBody && losses_.any() && !AdoptCount(chain_.span_summary())) {
    return Damaged("end of the medium");
  }
  return DamagedUnless(
      phase_ == Phase::kTape || chain_.SpanIsRight(set_.description(), set_.seen()),
      "end of the medium");
}

Status FamilyGrammar::OnDescriptor(Bytes content) {
  const bool is_final = phase_ == Phase::kFirstEnd;
  std::optional<BackupSet> set = ParseDescriptorStream(content, is_final);
  if (!set || (phase_ != Phase::kSetHead && !is_final) || !set_.IsOfThisSet(*set)) {
    return Damaged("description of the backup set");
  }
  if (!PayloadFormOf(*set)) {
    return SqlError(3239, walker_.device_name());  // a codec or cipher of a later version
  }
  if (set->encrypted()) {
    set_.KeepDescriptor(content, is_final);
  }
  return DamagedUnless(
      is_final ? set_.TakeFinalDescription(*std::move(set)) : set_.TakeDescription(*std::move(set)),
      "later description of the backup set");
}

Status FamilyGrammar::OnFrame(Bytes frame) {
  ParsedFrame parsed;
  const std::optional<Damage> damage =
      set_.TakeFrame(frame, walker_.offset(), next_control_block_id_, &parsed);
  if (damage) {
    // One frame whose version or codec is not known is more likely damaged than of another version.
    return damage->unsupported && !options_.tolerate_damage
               ? SqlError(3239, walker_.device_name())
               : walker_.Damaged(walker_.offset() + damage->offset, damage->what);
  }
  ++next_control_block_id_;
  losses_.Count();
  if (!wanted()) {
    return OkStatus();
  }
  if (authenticator_ != nullptr) {
    authenticator_->AddToEnd(set_.proof_number(), set_.RecordOf(frame, parsed).bytes());
  }
  const FrameView view{.extent = parsed.extent,
                       .payload = frame.subspan(parsed.payload_offset, parsed.extent.stored_size()),
                       .medium_offset = walker_.offset(),
                       .bytes = frame};
  return Told(view.extent.is_void() ? visitor_->OnVoidFrame(view) : visitor_->OnFrame(view));
}

Status FamilyGrammar::OnBlockEnd() {
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

Status FamilyGrammar::EndTape() {
  CAPSTAN_RETURN_IF_ERROR(chain_.EndTape(
      walker_.device_name(), set_.description_if_any(), set_.seen(),
      options_.set_place ? MediaChain::Entry::kLaterSet : MediaChain::Entry::kFirst));
  phase_ = Phase::kTapeMark;
  return chain_.on_first_medium() ? Told(visitor_->OnMediaHeader(chain_.header())) : OkStatus();
}

Status FamilyGrammar::EndSetHead() {
  if ((walker_.offset() - walker_.origin()) % kPhysicalBlock != 0) {
    return Damaged("alignment of the first frame");
  }
  phase_ = Phase::kFrames;
  frames_offset_ = walker_.offset();
  index_.ExpectFrames(frames_offset_, set_.description().transfer_size, set_.form());
  walker_.ExpectFrames(set_.description().transfer_size, set_.packing());
  if (!wanted()) {
    return OkStatus();
  }
  if (!chain_.continued()) {
    CAPSTAN_RETURN_IF_ERROR(Told(visitor_->OnSetBegin(set_.description())));
    authenticator_ = set_.form().encrypted() ? visitor_->authenticator() : nullptr;
  }
  return authenticator_ == nullptr || set_.HeadIsProved(*authenticator_, chain_.header())
             ? OkStatus()
             : Forged("the description of the backup set");
}

Status FamilyGrammar::OnFirstEnd() {
  if (!set_.EndIsRight() || !index_.complete() || !chain_.media_map_complete()) {
    return Damaged("end of the backup set");
  }
  phase_ = Phase::kSecondEnd;
  return OkStatus();
}

Status FamilyGrammar::Forged(std::string_view what) {
  return SqlError(65004, walker_.device_name(), walker_.offset(),
                  fmt::format("{} does not belong here or was changed", what));
}

Status FamilyGrammar::OnSetEnd() {
  if (!wanted()) {
    phase_ = Phase::kSet;
    chain_.ForgetSpan();
    return OkStatus();
  }
  if (authenticator_ != nullptr && !losses_.any() &&
      !set_.EndIsProved(*authenticator_, chain_.header())) {
    return Forged("the end of the backup set");
  }
  phase_ = Phase::kDone;
  walker_.Stop();
  SetTrailer trailer = set_.TakeTrailer();
  trailer.lost_frames = index_.TakeLost();
  trailer.end_offset = end_offset_;
  return Told(visitor_->OnSetEnd(trailer, set_.seen()));
}

}  // namespace capstan::media
