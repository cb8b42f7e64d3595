#include "server/media/set_check.h"

#include <algorithm>
#include <utility>

#include "server/media/block_fields.h"
#include "server/media/capstan_layout.h"
#include "server/media/mtf_layout.h"
#include "server/media/set_proof.h"

namespace capstan::media {

void SetCheck::BeginMedium(const SetBlock& block, std::uint64_t offset) {
  offset_ = offset;
  attributes_ = block.header.attributes;
  algorithm_ = block.compression_algorithm;
  head_proof_.reset();
  end_proof_.reset();
  described_ = false;
  transfer_size_confirmed_ = false;
  final_description_.reset();
  families_.reset();
}

bool SetCheck::Begin(Bytes block, std::uint64_t offset, std::uint16_t family_number) {
  const auto fixed = LoadStruct<SetBlock>(block);
  BeginMedium(fixed, offset);
  ++position_;
  description_.reset();
  form_ = {};
  restarts_.reset();
  seen_ = {.family_number = family_number};
  frame_bytes_ = 0;
  frame_bytes_known_ = true;
  fla_ = 0;
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
  const auto fixed = LoadStruct<SetBlock>(block);
  BeginMedium(fixed, offset);
  if (!form_.compressed()) {
    frame_bytes_ = seen_.frame_count * description_->transfer_size;
  } else if (!frame_bytes_known_) {
    frame_bytes_ = fixed.header.fla * format_logical_block_;  // how long lost frames were
    frame_bytes_known_ = true;
  }
  fla_ = frame_bytes_ / format_logical_block_;
  return (fixed.header.attributes & kContinuation) != 0 && fixed.set_number == position_ &&
         fixed.header.fla == fla_;
}

bool SetCheck::IsOfThisSet(const BackupSet& description) const {
  return description.position == position_ && description.backup_set_guid.bytes == guid_;
}

bool SetCheck::Agrees(const BackupSet& later) const {
  return later.transfer_size == description_->transfer_size &&
         later.files.size() == description_->files.size() &&
         later.compression_algorithm == description_->compression_algorithm &&
         later.encryption == description_->encryption;
}

bool SetCheck::FormAgrees() const {
  return algorithm_ == form_.codec_algorithm() &&
         ((attributes_ & kSetIsCompressed) != 0) == form_.compressed() &&
         ((attributes_ & kSetIsEncrypted) != 0) == form_.encrypted();
}

bool SetCheck::TakeDescription(BackupSet description) {
  described_ = true;
  if (description_) {
    return Agrees(description) && FormAgrees();
  }
  const std::optional<PayloadForm> form = PayloadFormOf(description);
  description_ = std::move(description);
  form_ = form.value_or(PayloadForm());
  return form && FormAgrees();
}

void SetCheck::KeepDescriptor(Bytes content, bool is_final) {
  const Bytes text = ProvedDescriptor(content);
  (is_final ? end_text_ : head_text_).assign(text.begin(), text.end());
}

void SetCheck::KeepFamilies(Bytes content) {
  const Bytes text = content.first(content.size() - sizeof(StreamSeal));
  families_text_.assign(text.begin(), text.end());
}

bool SetCheck::TakeProof(Bytes content, bool at_end) {
  if (content.size() != sizeof(AuthenticationStream) || !description_ || !form_.encrypted()) {
    return false;
  }
  const auto stream = LoadStruct<AuthenticationStream>(content);
  const auto what = at_end ? AuthenticatedPart::kEnd : AuthenticatedPart::kHead;
  std::optional<Authenticator::Tag>& proof = at_end ? end_proof_ : head_proof_;
  if (stream.version != kStreamVersion || stream.what != static_cast<std::uint16_t>(what) ||
      proof || stream.restarts != restarts_.value_or(stream.restarts)) {
    return false;
  }
  proof = stream.tag;
  restarts_ = stream.restarts;
  return true;
}

std::uint64_t SetCheck::proof_number() const {
  return ProofNumber(seen_.family_number, restarts_.value_or(0));
}

bool SetCheck::HeadIsProved(Authenticator& authenticator, const MediaHeader& header) const {
  return head_proof_ &&
         SameTag(*head_proof_, ProveHead(authenticator, header, *restarts_, head_text_));
}

bool SetCheck::EndIsProved(Authenticator& authenticator, const MediaHeader& header) const {
  return end_proof_ && SameTag(*end_proof_, ProveEnd(authenticator, header,
                                                     {.families = families_text_,
                                                      .descriptor = end_text_,
                                                      .frame_count = seen_.frame_count,
                                                      .restarts = *restarts_}));
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
  if (!description_ || content.size() != sizeof(SetBeginStream)) {
    return false;
  }
  const auto begin = LoadStruct<SetBeginStream>(content);
  packing_ = begin.packing * kPackingUnit;
  transfer_size_confirmed_ =
      begin.transfer_size == description_->transfer_size &&
      (form_.compressed() ? packing_ != 0 && packing_ % kPhysicalBlock == 0 : packing_ == 0);
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
      .file_count = static_cast<std::uint32_t>(description_->files.size()),
      .form = form_};
  if (const std::optional<Damage> damage = ParseFrame(frame, expected, parsed)) {
    return damage;
  }
  const IndexRecord record = RecordOf(frame, *parsed);
  frame_bytes_ += frame.size();
  seen_.frame_count += 1;
  seen_.payload_bytes += parsed->extent.payload_size();
  seen_.digest = Crc32c(seen_.digest, record.bytes());
  return std::nullopt;
}

IndexRecord SetCheck::RecordOf(Bytes frame, const ParsedFrame& parsed) const {
  return {parsed.extent, form_.compressed() ? static_cast<std::uint32_t>(frame.size()) : 0};
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
