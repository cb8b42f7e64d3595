// FamilyGrammar: gives the blocks, streams and frames of one family, which its BlockWalker cuts out
// of the arriving bytes, their meaning, and tells a FamilyVisitor of the wanted set.
//
// The order of a medium is Phase's order, and keeping it is what is done here; whether the contents
// are right is for MediaChain, SetCheck, FrameIndexCheck and FilemarkTrail to say. How a medium
// ends, and what follows an error, is for FamilyReader, whose other half this is.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/media/block_walker.h"
#include "server/media/family_reader.h"
#include "server/media/filemark_trail.h"
#include "server/media/frame_index_check.h"
#include "server/media/media_chain.h"
#include "server/media/set_check.h"

namespace capstan::media {

class FamilyGrammar final : private BlockSink {
 public:
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

  // `visitor` must outlive the grammar.
  FamilyGrammar(std::string device_name, std::uint16_t position, FamilyVisitor* visitor);

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

  Phase phase() const { return phase_; }
  const MediaChain& chain() const { return chain_; }
  const SetCheck& set() const { return set_; }
  bool hard_filemarks() const { return hard_filemarks_; }
  // The end of the current set has begun on this medium.
  bool end_begun() const { return end_begun_; }

 private:
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
  Phase phase_ = Phase::kTape;
  MediaChain chain_;

  // Of the medium.
  MediaHeader tape_;
  bool hard_filemarks_ = false;
  FilemarkTrail filemarks_;  // the soft ones

  // Of the current set.
  SetCheck set_;
  FrameIndexCheck index_;
  std::uint32_t next_control_block_id_ = 0;
  bool end_begun_ = false;
};

}  // namespace capstan::media
