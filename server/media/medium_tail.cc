// What stands behind the last complete set of a medium, and whether another one may.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include "server/media/block_composer.h"
#include "server/media/medium_lister.h"
#include "server/media/set_map.h"

namespace capstan::media {
namespace {

constexpr std::uint64_t kSectorSize = 512;
constexpr std::uint64_t kPageSize = 4096;  // what a system writes at a time

}  // namespace

// The medium cannot be walked any further. That is no error if all that is wrong is that a set was
// not written to its end.
Status MediumLister::EndsHere(Status failure) {
  const std::uint64_t at = cursor_.offset();
  if (!IsDamage(failure) || source_->size_bytes() == 0) {
    return failure;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const bool hole, HasHole(at));
  if (in_set_ ? ours() && hole : block_offset_ == good_.offset && (hole || good_.sets > 0)) {
    tail_ = hole ? MediumTail::kUnfinishedSet : MediumTail::kUnknown;
    return OkStatus();
  }
  return failure;
}

// Whether what should stand at `at`, or what a wrong seal covers, was never written.
Result<bool> MediumLister::HasHole(std::uint64_t at) {
  if (broken_from_) {
    for (std::uint64_t page = *broken_from_ / kPageSize * kPageSize; page < at; page += kPageSize) {
      CAPSTAN_ASSIGN_OR_RETURN(const bool zero, AllZeroAt(page, kPageSize));
      if (zero) {
        return true;
      }
    }
  }
  return AllZeroAt(at, kSectorSize);
}

Result<bool> MediumLister::AllZeroAt(std::uint64_t offset, std::uint64_t size) {
  ByteVector bytes(size);
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source_->ReadAt(offset, std::span(bytes)));
  return AllZero(Bytes(bytes).first(filled));
}

// The medium has been walked to its end.
Status MediumLister::NoteTail() {
  if (source_->hard_filemarks()) {
    NoteTailOfTape();
    return OkStatus();
  }
  const std::uint64_t size = source_->size_bytes();
  if (size == 0 || size == good_.offset) {
    return OkStatus();
  }
  bool unfinished = ours();
  if (!in_set_) {
    CAPSTAN_ASSIGN_OR_RETURN(unfinished, IsPieceOfSetBlock(good_.offset));
  }
  tail_ = unfinished ? MediumTail::kUnfinishedSet : MediumTail::kUnknown;
  return OkStatus();
}

// A tape ends with what was written last, be it in the middle of a set; nothing older follows.
void MediumLister::NoteTailOfTape() {
  if (goes_on() || (cursor_.offset() == good_.offset && !in_set_)) {
    return;
  }
  tail_ = ours() ? MediumTail::kUnfinishedSet : MediumTail::kUnknown;
}

// Whether the medium ends within an SSET that may be ours, or within zeros where one should be: as
// far as it goes, for no other program's bytes are so few that they do not matter.
Result<bool> MediumLister::IsPieceOfSetBlock(std::uint64_t offset) {
  ByteVector bytes(sizeof(SetBlock));
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source_->ReadAt(offset, std::span(bytes)));
  if (filled == bytes.size()) {
    return false;
  }
  constexpr std::string_view kSetType = "SSET";
  if (std::memcmp(bytes.data(), kSetType.data(), std::min(filled, kSetType.size())) != 0) {
    return AllZero(Bytes(bytes).first(filled));
  }
  constexpr std::size_t kVendorEnd =
      offsetof(SetBlock, software_vendor_id) + sizeof(SetBlock::software_vendor_id);
  return filled < kVendorEnd || LoadStruct<SetBlock>(bytes).software_vendor_id == kSoftwareVendorId;
}

bool MediumLister::MayAppend(const GoodEnd& end) const {
  if (end.offset == 0 || tail_ == MediumTail::kUnknown || end_of_family_ || end.sets == kSetsMax) {
    return false;
  }
  if (source_->hard_filemarks()) {
    // Where an earlier medium's set goes on, the first place is none.
    const bool first = end.sets == 0 && label_.header.media_sequence_number == 1;
    return end.place.filemarks > 0 && end.position < kSetsMax && (first || end.sets > 0);
  }
  const std::uint32_t mark_size = end.form.filemark_size();
  return source_->size_bytes() != 0 && !goes_on() && trail_known_ && mark_size >= kSectorSize &&
         kPhysicalBlock % mark_size == 0 && end.offset % mark_size == 0;
}

Result<std::optional<AppendPoint>> MediumLister::FindAppendPoint(const GoodEnd& end) {
  if (!MayAppend(end)) {
    return std::optional<AppendPoint>();
  }
  const bool hard = source_->hard_filemarks();
  AppendPoint append{.offset = hard ? 0 : end.offset,
                     .position = static_cast<std::uint16_t>((hard ? end.position : end.sets) + 1),
                     .form = end.form,
                     .filemarks = end.marks,
                     .set_map = {},
                     .place = end.place};
  if (label_.has_set_map && end.sets == 0) {
    append.set_map.emplace();
  }
  if (!label_.has_set_map || !end.map || end.map->header.length > 2 * kSetMapSizeMax) {
    return std::optional(std::move(append));
  }
  if (hard) {
    append.set_map = ParseSetMap(end.map_content);
    return std::optional(std::move(append));
  }
  ByteVector content(end.map->header.length);
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled,
                           source_->ReadAt(end.map->data_offset, std::span(content)));
  append.set_map = ParseSetMap(Bytes(content).first(filled));
  return std::optional(std::move(append));
}

Result<MediumListing> MediumLister::TakeListing() {
  MediumListing listing{.header = label_.header,
                        .sets = {},
                        .foreign = label_.foreign,
                        .size_bytes = source_->size_bytes(),
                        .sets_end = good_.offset,
                        .tail = tail_,
                        .append = {}};
  const bool hard = source_->hard_filemarks();
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<AppendPoint> behind, FindAppendPoint(good_));
  if (hard && goes_on() && !sets_.back().continued) {
    listing.over_last = std::move(behind);
  } else if (!goes_on()) {
    listing.append = std::move(behind);
  }
  if (hard && !goes_on() && good_.sets > 0 && !sets_[good_.sets - 1].continued) {
    CAPSTAN_ASSIGN_OR_RETURN(listing.over_last, FindAppendPoint(before_good_));
  }
  listing.sets = std::move(sets_);
  if (hard && tail_ == MediumTail::kUnfinishedSet) {
    listing.unfinished_set = listing.sets.back().set.backup_set_guid;
    listing.sets.pop_back();
  }
  return listing;
}

}  // namespace capstan::media
