// What FamilyGrammar does about bytes that it does not get: how a walk that tolerates damage goes
// on, how one that leaves frames out does, and what that costs.
#include <optional>
#include <utility>

#include "server/media/family_grammar.h"

namespace capstan::media {

Status FamilyGrammar::OnDamagedEnd() {
  phase_ = Phase::kDone;
  walker_.Stop();
  CAPSTAN_RETURN_IF_ERROR(CloseDamage(std::nullopt));
  return Told(visitor_->OnSetEnd(set_.TakeDamagedTrailer(), set_.seen()));
}

Status FamilyGrammar::JumpToFrame(std::uint64_t number, std::uint64_t offset) {
  CAPSTAN_RETURN_IF_ERROR(CloseDamage(walker_.offset()));
  const std::uint64_t skipped = number - losses_.next();
  losses_.Skip(skipped);
  next_control_block_id_ += static_cast<std::uint32_t>(skipped);
  walker_.ContinueAt(offset);
  return OkStatus();
}

Status FamilyGrammar::JumpToEnd(std::uint64_t offset) {
  CAPSTAN_RETURN_IF_ERROR(CloseDamage(walker_.offset()));
  losses_.SkipRest();
  damage_seen_ = true;
  walker_.ContinueAt(offset);
  return OkStatus();
}

bool FamilyGrammar::tolerable(const Status& failure) const {
  return options_.tolerate_damage && !visitor_failed_ &&
         (failure.reason() == 3241 || failure.reason() == 3256);
}

Status FamilyGrammar::Told(Status status) {
  visitor_failed_ = visitor_failed_ || !status.ok();
  return status;
}

void FamilyGrammar::OpenDamage(const Status& failure, std::uint64_t offset) {
  damage_seen_ = true;
  if (!damage_) {
    damage_ = MediumDamage{
        .offset = offset,
        .text = std::string(failure.hint().empty() ? failure.message() : failure.hint())};
    damage_failure_ = failure;
  }
}

// What is wrong with other sets is not told.
Status FamilyGrammar::CloseDamage(std::optional<std::uint64_t> end) {
  if (!damage_) {
    return OkStatus();
  }
  MediumDamage damage = *std::move(damage_);
  damage_.reset();
  damage.size = end ? *end - damage.offset : 0;
  return wanted() ? Told(visitor_->OnDamage(damage)) : OkStatus();
}

Status FamilyGrammar::GiveUp(Status failure) {
  if (!wanted() && damage_) {
    return damage_failure_;
  }
  if (!tolerable(failure) || !wanted() || phase_ < Phase::kFrames) {
    return failure;
  }
  OpenDamage(failure, walker_.offset());
  return OnDamagedEnd();
}

Status FamilyGrammar::OnDamage(Status failure, std::uint64_t offset) {
  const bool maybe_full = options_.media == Media::kSeveral && !hard_filemarks_ && end_begun_;
  if (!tolerable(failure) || maybe_full || set_.position() == 0) {
    return failure;
  }
  if (!wanted()) {
    if (set_.position() > wanted_position_) {
      return failure;
    }
    OpenDamage(failure, offset);
    if (phase_ != Phase::kFrames) {
      walker_.ExpectFrames(0);
      phase_ = Phase::kSet;
    }
    return OkStatus();
  }
  if (phase_ < Phase::kFrames || phase_ > Phase::kSetMark) {
    return failure;
  }
  OpenDamage(failure, offset);
  switch (phase_) {
    case Phase::kFrames:
      return OkStatus();
    case Phase::kSetMark:  // everything in front of it was right
      CAPSTAN_RETURN_IF_ERROR(CloseDamage(std::nullopt));
      return OnSetEnd();
    default:
      return OnDamagedEnd();
  }
}

Result<bool> FamilyGrammar::OnScan(Bytes block) {
  const auto header = LoadStruct<BlockHeader>(block);
  if (!HeaderIsSound(header)) {
    return false;
  }
  bool landed = false;
  if (phase_ == Phase::kSet) {
    landed = IsLaterSet(header, block);
  } else if (header.type == BlockType::kFile) {
    landed = set_.FrameStandsAt(walker_.offset(), block) &&
             header.control_block_id >= next_control_block_id_;
    if (landed) {
      losses_.Skip(header.control_block_id - next_control_block_id_);
      next_control_block_id_ = header.control_block_id;
    }
  } else if (IsEndOfFrames(header, block)) {
    landed = true;
    losses_.SkipRest();
    if (header.type != BlockType::kSoftFilemark) {  // that is what was damaged
      walker_.ExpectFrames(0);
      phase_ = Phase::kFirstEnd;
    }
  }
  if (landed) {
    CAPSTAN_RETURN_IF_ERROR(CloseDamage(walker_.offset()));
  }
  return landed;
}

bool FamilyGrammar::IsLaterSet(const BlockHeader& header, Bytes block) const {
  return header.type == BlockType::kSet && LoadStruct<SetBlock>(block).set_number > set_.position();
}

bool FamilyGrammar::IsEndOfFrames(const BlockHeader& header, Bytes block) const {
  switch (header.type) {
    case BlockType::kSoftFilemark:
      return !hard_filemarks_ && FilemarkTrail(filemarks_).Adopt(block, walker_.offset());
    case BlockType::kEndOfSet:
      return header.control_block_id >= next_control_block_id_ &&
             LoadStruct<EndOfSetBlock>(block).set_number == set_.position();
    case BlockType::kEndOfMedium:
      return true;
    default:
      return false;
  }
}

}  // namespace capstan::media
