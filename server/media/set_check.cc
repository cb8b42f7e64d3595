#include "server/media/set_check.h"

#include <algorithm>
#include <utility>

#include "server/media/block_fields.h"
#include "server/media/capstan_layout.h"
#include "server/media/mtf_layout.h"

namespace capstan::media {

void SetCheck::BeginMedium(std::uint64_t offset) {
  offset_ = offset;
  described_ = false;
  transfer_size_confirmed_ = false;
  final_description_.reset();
  families_.reset();
}

bool SetCheck::Begin(Bytes block, std::uint64_t offset, std::uint16_t family_number) {
  BeginMedium(offset);
  ++position_;
  description_.reset();
  seen_ = {.family_number = family_number};
  fla_ = 0;
  const auto fixed = LoadStruct<SetBlock>(block);
  const TapeAddress os_data = fixed.header.os_data;
  if (fixed.software_vendor_id != kSoftwareVendorId || os_data.size != sizeof(SetOsData) ||
      os_data.offset + sizeof(SetOsData) > block.size()) {
    return false;
  }
  guid_ = LoadStruct<SetOsData>(block.subspan(os_data.offset)).backup_set_guid;
  return true;
}

// MTF 1.00a, "Normal EOM processing": the blocks in front of the frames are repeated; format
// logical blocks go on being counted as if they were not.
bool SetCheck::Continue(Bytes block, std::uint64_t offset) {
  BeginMedium(offset);
  fla_ = seen_.frame_count * (description_->transfer_size / format_logical_block_);
  const auto fixed = LoadStruct<SetBlock>(block);
  return (fixed.header.attributes & kContinuation) != 0 && fixed.set_number == position_ &&
         fixed.header.fla == fla_;
}

bool SetCheck::IsOfThisSet(const BackupSet& description) const {
  return description.position == position_ && description.backup_set_guid.bytes == guid_;
}

bool SetCheck::Agrees(const BackupSet& later) const {
  return later.transfer_size == description_->transfer_size &&
         later.files.size() == description_->files.size();
}

bool SetCheck::TakeDescription(BackupSet description) {
  described_ = true;
  if (description_) {
    return Agrees(description);
  }
  description_ = std::move(description);
  return true;
}

bool SetCheck::TakeFinalDescription(BackupSet description) {
  described_ = true;
  if (!Agrees(description)) {
    return false;
  }
  final_description_ = std::move(description);
  return true;
}

bool SetCheck::TakeTransferSize(Bytes content) {
  transfer_size_confirmed_ =
      description_ && content.size() == sizeof(SetBeginStream) &&
      LoadStruct<SetBeginStream>(content).transfer_size == description_->transfer_size;
  return transfer_size_confirmed_;
}

bool SetCheck::TakeFamilies(Bytes content, std::uint16_t family_count) {
  families_ = ParseFamiliesStream(content);
  return families_ && families_->size() == family_count;
}

std::optional<Damage> SetCheck::TakeFrame(Bytes frame, std::uint64_t offset,
                                          std::uint32_t control_block_id, ParsedFrame* parsed) {
  const FrameExpectation expected{
      .backup_set_guid = description_->backup_set_guid,
      .fla = fla_ + (offset - offset_) / format_logical_block_,
      .control_block_id = control_block_id,
      .file_count = static_cast<std::uint32_t>(description_->files.size())};
  if (const std::optional<Damage> damage = ParseFrame(frame, expected, parsed)) {
    return damage;
  }
  const IndexEntry entry = MakeIndexEntry(parsed->extent);
  seen_.frame_count += 1;
  seen_.payload_bytes += parsed->extent.length;
  seen_.digest = Crc32c(seen_.digest, AsBytes(entry));
  return std::nullopt;
}

bool SetCheck::FrameStandsAt(std::uint64_t offset, Bytes head) const {
  ParsedFrame parsed;
  FrameStream stream;
  return !ParseFrameHead(head, &parsed, &stream) &&
         stream.backup_set_guid == description_->backup_set_guid.bytes &&
         LoadStruct<BlockHeader>(head).fla == fla_ + (offset - offset_) / format_logical_block_;
}

std::optional<FamilySummary> SetCheck::listed() const {
  if (families_) {
    const auto own = std::find_if(families_->begin(), families_->end(), [&](const auto& family) {
      return family.family_number == seen_.family_number;
    });
    if (own != families_->end()) {
      return *own;
    }
  }
  return std::nullopt;
}

bool SetCheck::EndIsRight() const {
  return final_description_ && families_ &&
         std::find(families_->begin(), families_->end(), seen_) != families_->end();
}

SetTrailer SetCheck::TakeDamagedTrailer() {
  SetTrailer trailer{.set = final_description_ ? *std::move(final_description_) : *description_,
                     .damaged = true};
  if (families_) {
    trailer.families = *std::move(families_);
  }
  return trailer;
}

SetTrailer SetCheck::TakeTrailer() {
  return {.set = *std::move(final_description_), .families = *std::move(families_)};
}

}  // namespace capstan::media
