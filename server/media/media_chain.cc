#include "server/media/media_chain.h"

#include <cstring>

#include <fmt/format.h>

#include "server/media/block_fields.h"
#include "server/media/media_plan.h"
#include "server/media/set_composer.h"
#include "server/messages/messages.h"

namespace capstan::media {

bool MediaChain::TakeMediaSet(Bytes content, const MediaHeader& tape) {
  media_set_ = ParseMediaSetStream(content, tape);
  return media_set_.has_value();
}

bool MediaChain::TakeSpan(Bytes content) {
  span_ = ParseSpanStream(content);
  return span_.has_value();
}

Status MediaChain::EndTape(const std::string& device_name, const std::optional<BackupSet>& set,
                           const FamilySummary& seen, Entry entry) {
  if (!on_first_medium()) {
    return CheckNextMedium(device_name, set, seen);
  }
  foreign_ = !media_set_;
  if (foreign_ && tape_.software_vendor_id == kSqlServerVendorId) {
    return SqlError(65013, device_name);
  }
  if (foreign_ && tape_.software_vendor_id == kSoftwareVendorId) {
    return SqlError(3143, device_name);
  }
  header_ = media_set_.value_or(tape_);
  sequence_number_ = header_->media_sequence_number;
  if (span_ && entry == Entry::kFirst) {
    return SqlError(3249, device_name)
        .WithHint(fmt::format("it is medium {} of family {}; the set begins on an earlier one",
                              sequence_number_, header_->family_number));
  }
  return OkStatus();
}

Status MediaChain::CheckNextMedium(const std::string& device_name,
                                   const std::optional<BackupSet>& set,
                                   const FamilySummary& seen) const {
  if (!media_set_ || media_set_->media_set_id != MediaSetIdOf(*header_)) {
    return SqlError(3258, device_name);
  }
  if (media_set_->family_number != header_->family_number ||
      media_set_->media_family_id != header_->media_family_id) {
    return SqlError(3133, device_name, media_set_->media_sequence_number, media_set_->family_number,
                    sequence_number_, header_->family_number);
  }
  if (media_set_->media_sequence_number != sequence_number_) {
    return SqlError(3247, device_name, media_set_->media_sequence_number, sequence_number_);
  }
  if (!span_ || !SpanIsRight(*set, seen)) {
    return SqlError(3232, device_name, sequence_number_, header_->family_number);
  }
  return OkStatus();
}

void MediaChain::BeginSet() {
  media_map_right_ = false;
  if (!continued()) {
    before_medium_ = {};
    full_media_.clear();
  }
}

MediaMapEntry MediaChain::MountedMedium(const FamilySummary& seen) const {
  return {.media_sequence_number = sequence_number_,
          .frame_count = seen.frame_count - before_medium_.frame_count,
          .payload_bytes = seen.payload_bytes - before_medium_.payload_bytes};
}

bool MediaChain::TakeMediaMap(Bytes content, const FamilySummary& seen) {
  const std::optional<std::vector<MediaMapEntry>> media = ParseMediaMapStream(content);
  std::vector<MediaMapEntry> expected = full_media_;
  expected.push_back(MountedMedium(seen));
  media_map_right_ =
      media && media->size() == expected.size() &&
      std::memcmp(media->data(), expected.data(), expected.size() * sizeof(MediaMapEntry)) == 0;
  return media_map_right_;
}

std::size_t MediaChain::media_map_size_max() const {
  return sizeof(MediaMapStream) + sizeof(StreamSeal) +
         (full_media_.size() + 1) * sizeof(MediaMapEntry);
}

bool MediaChain::SpanIsRight(const BackupSet& set, const FamilySummary& seen) const {
  const SpanStream expected = MakeSpan(set, sequence_number_, seen);
  return std::memcmp(&*span_, &expected, sizeof(SpanStream) - sizeof(StreamSeal)) == 0;
}

FamilySummary MediaChain::span_summary() const {
  return {.family_number = header_->family_number,
          .frame_count = span_->frame_count,
          .payload_bytes = span_->payload_bytes,
          .digest = span_->digest};
}

void MediaChain::BeginNextMedium(const FamilySummary& seen) {
  full_media_.push_back(MountedMedium(seen));
  ++sequence_number_;
  before_medium_ = seen;
  media_set_.reset();
  span_.reset();
}

}  // namespace capstan::media
