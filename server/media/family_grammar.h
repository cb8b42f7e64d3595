// FamilyGrammar: gives the blocks, streams and frames of one family, which its BlockWalker cuts out
// of the arriving bytes, their meaning, and tells a FamilyVisitor of the wanted set.
//
// The order of a medium is Phase's order, and keeping it is what is done here; whether the contents
// are right is for MediaChain, SetCheck, FrameIndexCheck and FilemarkTrail to say. How a medium
// ends is for FamilyReader, whose other half this is; family_damage.cc has what is done about
// damage. Internal to server/media. Threads: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/media/block_walker.h"
#include "server/media/family_reader.h"
#include "server/media/filemark_trail.h"
#include "server/media/frame_index_check.h"
#include "server/media/frame_losses.h"
#include "server/media/media_chain.h"
#include "server/media/set_check.h"

namespace capstan::media {

class FamilyGrammar final : private BlockSink {
 public:
  enum class Phase {
    kTape,       // TAPE
    kTapeMark,   // filemark
    kEntryMark,  // the filemark in front of the wanted set, where reading goes on
    kSet,        // SSET or the end of the medium
    kOtherSet,   // anything up to the end of another program's set
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

  // `visitor` must outlive the grammar.
  FamilyGrammar(std::string device_name, std::uint16_t position, FamilyVisitor* visitor,
                const ReaderOptions& options);

  // What the medium's bytes go through.
  BlockWalker& walker() { return walker_; }
  const BlockWalker& walker() const { return walker_; }

  // The medium has a hard filemark behind the bytes that were consumed.
  Status OnHardFilemark();
  // The next bytes of the medium, for EndsAsFullMedium.
  void KeepTail(Bytes chunk) { filemarks_.KeepTail(chunk); }
  // Whether a medium of `size` bytes was full amid the end of the set; its next one follows then.
  bool EndsAsFullMedium(std::uint64_t size);
  void BeginNextMedium();
  // As FamilyReader has them.
  bool at_frame() const {
    return phase_ == Phase::kFrames && wanted() && (walker_.between_blocks() || walker_.scanning());
  }
  Status JumpToFrame(std::uint64_t number, std::uint64_t offset);
  Status JumpToEnd(std::uint64_t offset);
  // The medium ends here, or cannot be read to its end, as `failure` says. OK if that is tolerated:
  // then the set has ended. REQUIRES: phase() is neither kDone nor kNextMedium.
  Status GiveUp(Status failure);

  // Not 0: the walk goes on at this offset, and has done so from now on.
  std::uint64_t TakeJump();

  // Likewise for the place on a medium with hard filemarks.
  std::optional<TapePlace> TakePlace() { return std::exchange(place_, std::nullopt); }

  Phase phase() const { return phase_; }
  const MediaChain& chain() const { return chain_; }
  const SetCheck& set() const { return set_; }
  bool hard_filemarks() const { return hard_filemarks_; }
  // The end of the current set has begun on this medium.
  bool end_begun() const { return end_begun_; }
  // Where the frames of the current set on this medium begin. REQUIRES: phase() is kFrames.
  std::uint64_t frames_offset() const { return frames_offset_; }

 private:
  Status OnBlock(const BlockHeader& header, Bytes block) override;
  Result<StreamUse> OnStream(const StreamHeader& header) override;
  Status OnStreamData(const StreamHeader& header, Bytes data) override;
  RecordRun next_records() const override { return index_.next_records(); }
  Status OnFrame(Bytes frame) override;
  Status OnBlockEnd() override;
  Status OnDamage(Status failure, std::uint64_t offset) override;
  Result<bool> OnScan(Bytes block) override;

  Status OnTape(Bytes block);
  bool IsRightFilemark(Bytes block);
  Status OnSet(Bytes block);
  Status OnEndOfMedium(Bytes block);
  Status PassFilemark();
  Status OnSpan(Bytes content);
  Status OnFamilies(Bytes content);
  // What the medium says of its frames up to here counts. False if that cannot be.
  bool AdoptCount(const FamilySummary& summary);
  Status OnDescriptor(Bytes content);
  Status EndTape();
  Status EndSetHead();
  Status OnFirstEnd();
  Status OnSetEnd();
  // 65004: what the key proves is not so.
  Status Forged(std::string_view what);
  Status OnDamagedEnd();
  // Behind damage: blocks that the walk can go on with.
  bool IsLaterSet(const BlockHeader& header, Bytes block) const;
  bool IsEndOfFrames(const BlockHeader& header, Bytes block) const;
  void OpenDamage(const Status& failure, std::uint64_t offset);
  // Without an end, it reaches to the end of the medium.
  Status CloseDamage(std::optional<std::uint64_t> end);
  bool tolerable(const Status& failure) const;
  // The status of a call to the visitor, whose errors no reader tolerates.
  Status Told(Status status);
  bool wanted() const { return set_.position() == wanted_position_; }
  Status Damaged(std::string_view what) const { return walker_.Damaged(walker_.offset(), what); }
  Status DamagedUnless(bool right, std::string_view what) const {
    return right ? OkStatus() : Damaged(what);
  }

  BlockWalker walker_;
  const std::uint16_t wanted_position_;
  FamilyVisitor* const visitor_;
  ReaderOptions options_;
  bool visitor_failed_ = false;
  Phase phase_ = Phase::kTape;
  MediaChain chain_;

  // Of the medium.
  MediaHeader tape_;
  bool hard_filemarks_ = false;
  FilemarkTrail filemarks_;  // the soft ones
  std::uint64_t jump_ = 0;
  std::optional<TapePlace> place_;
  bool damage_seen_ = false;
  std::optional<MediumDamage> damage_;  // that has not come to an end yet
  Status damage_failure_;               // how it began

  // Of the current set.
  SetCheck set_;
  FrameIndexCheck index_;
  FrameLosses losses_;
  std::uint64_t frames_offset_ = 0;
  Authenticator* authenticator_ = nullptr;  // the visitor's, of the wanted set
  std::uint64_t end_offset_ = 0;            // of its first ESET
  std::uint32_t next_control_block_id_ = 0;
  bool end_begun_ = false;
};

}  // namespace capstan::media
