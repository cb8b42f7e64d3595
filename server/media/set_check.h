// SetCheck: what the reader knows of the backup set that is going by: how it describes itself,
// which of its frames were seen, what its end says. Each is compared with those before it.
//
// A set lives from its SSET to the next one that is not a continuation; on a family of several
// media the blocks in front of the frames are repeated on each.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "server/media/authenticator.h"
#include "server/media/backup_set.h"
#include "server/media/block_composer.h"
#include "server/media/family_reader.h"
#include "server/media/family_writer.h"
#include "server/media/frame.h"
#include "server/media/mtf_values.h"
#include "server/media/payload_form.h"

namespace capstan::media {

class SetCheck {
 public:
  // `block`, at least a SetBlock, is an SSET at `offset` of its medium.
  // Of the next set. False if it is not ours.
  bool Begin(Bytes block, std::uint64_t offset, std::uint16_t family_number);
  // Of the same set, which goes on on this medium. False if it is another's.
  // REQUIRES: description_if_any().
  bool Continue(Bytes block, std::uint64_t offset);

  // From the TAPE block.
  void UseBlockSize(std::uint32_t format_logical_block) {
    format_logical_block_ = format_logical_block;
  }

  // From 1; 0 before the first set.
  std::uint16_t position() const { return position_; }
  // Whether a description of the set has been seen on this medium.
  bool described() const { return described_; }
  const std::optional<BackupSet>& description_if_any() const { return description_; }
  // REQUIRES: described, on this medium or an earlier one.
  const BackupSet& description() const { return *description_; }

  // Whether `description` is one of this set, by its position and GUID.
  bool IsOfThisSet(const BackupSet& description) const;
  // The set's description: the first one counts, and later ones must not contradict it. That at the
  // end of the set, where one came before, holds the final values.
  bool TakeDescription(BackupSet description);
  bool TakeFinalDescription(BackupSet description);
  // The CPSB in front of the frames: false unless it says the transfer size of the description, and
  // how frames are packed as it must be.
  bool TakeTransferSize(Bytes content);
  // CPAU: false unless it is where it belongs in an encrypted set.
  bool TakeProof(Bytes content, bool at_end);
  // What an Authenticator is asked for, at the beginning of the set and at its end: whether the
  // tags that were found are those of the texts that were found. The records of all frames were
  // added to its end. REQUIRES: as description(), EndIsRight().
  bool HeadIsProved(Authenticator& authenticator, const MediaHeader& header) const;
  bool EndIsProved(Authenticator& authenticator, const MediaHeader& header) const;
  // CPBD and CPFS as they arrived, of which the proofs speak. Before they are taken.
  void KeepDescriptor(Bytes content, bool is_final);
  void KeepFamilies(Bytes content);

  const PayloadForm& form() const { return form_; }
  // As FrameGeometry has it. REQUIRES: transfer_size_confirmed().
  std::uint32_t packing() const { return packing_; }

  // Whether that was seen on this medium: the frames follow.
  bool transfer_size_confirmed() const { return transfer_size_confirmed_; }
  // False unless `content` is a list of `family_count` families.
  bool TakeFamilies(Bytes content, std::uint16_t family_count);

  // The frame at `offset` of the medium, taken apart into `parsed`. It counts as seen unless there
  // is something wrong with it. REQUIRES: as description().
  std::optional<Damage> TakeFrame(Bytes frame, std::uint64_t offset, std::uint32_t control_block_id,
                                  ParsedFrame* parsed);
  // What the index says of such a frame.
  IndexRecord RecordOf(Bytes frame, const ParsedFrame& parsed) const;
  // Whether a frame of this set stands at `offset` of the medium, its payload aside. `head` reaches
  // at least up to there. REQUIRES: as description().
  bool FrameStandsAt(std::uint64_t offset, Bytes head) const;
  // The frames so far, on all media; where some were lost, what was adopted since.
  const FamilySummary& seen() const { return seen_; }
  // Of both its ends, as Authenticator has it.
  std::uint64_t proof_number() const;
  // Frames were lost: what the medium says of all of them counts as seen.
  void Adopt(const FamilySummary& summary) {
    seen_ = summary;
    frame_bytes_known_ = false;
  }
  // What the list of families says of this one.
  std::optional<FamilySummary> listed() const;
  // Sets up to this position were not seen. REQUIRES: position() is not above it.
  void SkipTo(std::uint16_t position) { position_ = position; }

  // Whether the end has said all that it must, and that this family is what was seen.
  bool EndIsRight() const;
  // What the end said. REQUIRES: EndIsRight(). Once.
  SetTrailer TakeTrailer();
  // Likewise of an end that is damaged, as far as it went. REQUIRES: description_if_any().
  SetTrailer TakeDamagedTrailer();

 private:
  void BeginMedium(const SetBlock& block, std::uint64_t offset);
  bool FormAgrees() const;
  bool Agrees(const BackupSet& later) const;

  std::uint32_t format_logical_block_ = kFormatLogicalBlock;
  std::uint16_t position_ = 0;
  std::array<std::uint8_t, 16> guid_{};  // as its SSET says
  std::optional<BackupSet> description_;
  PayloadForm form_;                       // as the description says
  std::optional<std::uint32_t> restarts_;  // with each of its proofs
  FamilySummary seen_;
  std::uint64_t frame_bytes_ = 0;  // of the frames seen
  bool frame_bytes_known_ = true;

  // Of the set on this medium.
  std::uint64_t offset_ = 0;  // of its SSET
  std::uint64_t fla_ = 0;     // likewise
  bool described_ = false;
  bool transfer_size_confirmed_ = false;
  std::uint32_t attributes_ = 0;  // of its SSET, with the algorithm
  std::uint16_t algorithm_ = 0;
  std::uint32_t packing_ = 0;
  ByteVector head_text_, end_text_, families_text_;  // of an encrypted set
  std::optional<Authenticator::Tag> head_proof_, end_proof_;
  std::optional<BackupSet> final_description_;
  std::optional<std::vector<FamilySummary>> families_;
};

}  // namespace capstan::media
