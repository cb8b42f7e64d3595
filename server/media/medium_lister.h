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
  // Behind the last complete set, and behind those before it.
  struct GoodEnd {
    std::uint64_t offset = 0;    // 0: there is none
    std::size_t sets = 0;        // complete ones
    std::uint16_t position = 0;  // of the last of them
    Filemarks marks;
    MediumForm form;
    std::optional<StreamPosition> map;
    ByteVector map_content;  // with hard filemarks
    TapePlace place;         // likewise
  };
  bool MayAppend(const GoodEnd& end) const;
  Result<std::optional<AppendPoint>> FindAppendPoint(const GoodEnd& end);
  Result<std::optional<std::uint64_t>> SkipFrames(const BlockPosition& block);
  // On a medium with hard filemarks, which can only be read forward.
  void NoteTailOfTape();
  // The last set goes on on the next medium.
  bool goes_on() const { return !sets_.empty() && sets_.back().continues; }
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
  GoodEnd good_;         // behind the last complete set, or the first filemark
  GoodEnd before_good_;  // in front of that set
  TapePlace place_;      // behind the last filemark, if it is a hard one
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
  ByteVector map_content_;  // with hard filemarks
};

}  // namespace capstan::media
