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
  if (in_set_ ? ours() && hole : block_offset_ == good_end_ && (hole || complete_sets_ > 0)) {
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
  const std::uint64_t size = source_->size_bytes();
  if (size == 0 || size == good_end_) {
    return OkStatus();
  }
  bool unfinished = ours();
  if (!in_set_) {
    CAPSTAN_ASSIGN_OR_RETURN(unfinished, IsPieceOfSetBlock(good_end_));
  }
  tail_ = unfinished ? MediumTail::kUnfinishedSet : MediumTail::kUnknown;
  return OkStatus();
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

Result<std::optional<AppendPoint>> MediumLister::FindAppendPoint() {
  const std::uint32_t mark_size = form_.filemark_size();
  const bool continues = complete_sets_ > 0 && sets_[complete_sets_ - 1].continues;
  if (source_->size_bytes() == 0 || good_end_ == 0 || tail_ == MediumTail::kUnknown ||
      !trail_known_ || continues || end_of_family_ || complete_sets_ == kSetsMax ||
      mark_size < kSectorSize || kPhysicalBlock % mark_size != 0 || good_end_ % mark_size != 0) {
    return std::optional<AppendPoint>();
  }
  AppendPoint append{.offset = good_end_,
                     .position = static_cast<std::uint16_t>(complete_sets_ + 1),
                     .form = form_,
                     .filemarks = good_marks_,
                     .set_map = {}};
  if (label_.has_set_map && complete_sets_ == 0) {
    append.set_map.emplace();
  }
  if (label_.has_set_map && good_map_ && good_map_->header.length <= 2 * kSetMapSizeMax) {
    ByteVector content(good_map_->header.length);
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled,
                             source_->ReadAt(good_map_->data_offset, std::span(content)));
    append.set_map = ParseSetMap(Bytes(content).first(filled));
  }
  return std::optional(std::move(append));
}

Result<MediumListing> MediumLister::TakeListing() {
  MediumListing listing{.header = label_.header,
                        .sets = {},
                        .foreign = label_.foreign,
                        .size_bytes = source_->size_bytes(),
                        .sets_end = good_end_,
                        .tail = tail_,
                        .append = {}};
  CAPSTAN_ASSIGN_OR_RETURN(listing.append, FindAppendPoint());
  listing.sets = std::move(sets_);
  return listing;
}

}  // namespace capstan::media
