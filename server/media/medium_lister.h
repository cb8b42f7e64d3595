// MediumLister: finds the sets of one medium without reading their frames, and what stands behind
// the last of them.
//
// medium_listing.cc walks; medium_tail.cc says where the next set goes, and whether what follows
// the last complete one is a set that was not written to its end.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "server/media/block_cursor.h"
#include "server/media/family_reader.h"
#include "server/media/filemark_trail.h"
#include "server/media/medium_error.h"
#include "server/media/medium_index.h"

namespace capstan::media {

// Sets on one medium: a data set number has 16 bits.
inline constexpr std::size_t kSetsMax = std::numeric_limits<std::uint16_t>::max();

struct MediumLabel {
  MediaHeader header;
  bool foreign = true;
  MediumForm form;
  bool has_set_map = false;
  std::uint64_t end = 0;  // of the TAPE block: the first filemark stands there
};

// Lists one medium: label first, then the sets from the filemarks or by walking.
class MediumLister {
 public:
  explicit MediumLister(MediumSource* source) : source_(source), cursor_(source) {}

  Result<MediumLabel> ReadLabel();
  // Both require that ReadLabel succeeded, and one of them is called, once.
  // `ends_in_order`: the last filemark leads back to the first one, so nothing was cut off.
  Status Walk(bool ends_in_order);
  // The sets of a medium between all its filemarks. Fails if anything is not where a medium that
  // ended in good order has it.
  Status ListBetween(const MediumIndex& index);

  // What was found: sets, the tail, where to append.
  Result<MediumListing> TakeListing();

 private:
  Status Damaged(std::uint64_t offset, std::string_view what) const {
    return MediumDamaged(source_->device_name(), offset, what);
  }
  Status WalkBlock(const BlockPosition& block);
  Status BeginSet(const BlockPosition& block);
  Status ReadSetAt(std::uint64_t set_offset, std::uint64_t end_offset);
  Status EndsHere(Status failure);
  Result<bool> HasHole(std::uint64_t at);
  Result<bool> AllZeroAt(std::uint64_t offset, std::uint64_t size);
  Status NoteTail();
  Result<bool> IsPieceOfSetBlock(std::uint64_t offset);
  Result<std::optional<AppendPoint>> FindAppendPoint();
  bool ours() const { return in_set_ && !sets_.back().foreign; }
  void BeginCoverage(std::uint64_t offset);
  Status WalkStreams(const BlockPosition& block);
  Status OnDescriptor(const StreamPosition& stream, bool is_final);
  Status OnFamilies(const StreamPosition& stream);
  Status EndFilemark(const BlockPosition& block);
  Result<Bytes> BlockBytes(const BlockPosition& block, std::size_t size_min);
  // The content of a stream of ours, whose seal is checked; empty if the medium ends before that.
  Result<Bytes> SealedContent(const StreamPosition& stream);

  MediumSource* const source_;
  BlockCursor cursor_;
  std::uint64_t covered_from_ = 0;            // by the next seal
  std::optional<std::uint64_t> broken_from_;  // a seal that is wrong covers from there on

  // Of the medium.
  MediumLabel label_;
  FilemarkTrail trail_;
  bool trail_known_ = true;
  // Behind the last complete set, or the first filemark, and what was so there.
  std::uint64_t good_end_ = 0;
  std::size_t complete_sets_ = 0;
  Filemarks good_marks_;
  MediumForm form_;
  std::optional<StreamPosition> good_map_;
  MediumTail tail_ = MediumTail::kNothing;
  bool end_of_family_ = false;

  std::uint64_t block_offset_ = 0;  // of the block being walked

  // Of the set being walked.
  std::vector<SetListing> sets_;
  bool in_set_ = false;
  std::uint32_t frame_size_ = 0;  // 0 until the set turns out to be ours
  bool final_known_ = false;
  int end_blocks_ = 0;
  std::optional<StreamPosition> map_;
};

}  // namespace capstan::media
