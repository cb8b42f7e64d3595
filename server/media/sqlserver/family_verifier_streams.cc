// The streams of a block: the part of FamilyVerifier that takes data in.
#include <algorithm>

#include "server/media/sqlserver/config_records.h"
#include "server/media/sqlserver/family_verifier.h"
#include "server/media/sqlserver/set_map_check.h"
#include "server/messages/messages.h"

namespace capstan::media::sqlserver {
namespace {

constexpr std::uint64_t kSetMapMax = 64U << 20;
// Padding goes to the next block, before a filemark to the next physical one.
constexpr std::uint64_t kPadMax = 128 << 10;

}  // namespace

Status FamilyVerifier::CheckStreams(const Block& block) {
  lead_left_ = kLeadBytes;
  sum_expected_ = false;
  sum_ = SectorSum();
  while (true) {
    const std::uint64_t inside = reader_.offset() - origin_;
    CAPSTAN_RETURN_IF_ERROR(TakeZeros(RoundUp(inside, 4) - inside, "padding between streams"));
    CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, reader_.Take(sizeof(StreamHeader)));
    const auto stream = LoadStruct<StreamHeader>(bytes);
    if (!HeaderIsSound(stream)) {
      return MediumDamaged(reader_.device_name(), reader_.PlaceOf(bytes), "stream header");
    }
    if (stream.type == StreamType::kPad) {
      if (sum_expected_) {
        return reader_.Damaged("checksum stream, which is missing");
      }
      return CheckPad(stream.length);
    }
    CAPSTAN_RETURN_IF_ERROR(CheckStream(block, stream));
  }
}

Status FamilyVerifier::CheckPad(std::uint64_t length) {
  const std::uint64_t end = reader_.offset() + length - origin_;
  if (length > kPadMax || end % tape_.format_logical_block != 0) {
    return reader_.Damaged("length of the padding of a block");
  }
  return TakeZeros(length, "padding of a block");
}

Status FamilyVerifier::CheckStream(const Block& block, const StreamHeader& stream) {
  if (stream.type == kRaid) {
    CAPSTAN_ASSIGN_OR_RETURN(const ByteVector content, Collect(stream.length, sizeof(RaidStream)));
    has_raid_ = ParseRaid(content, &findings_.header);
    return has_raid_ ? OkStatus() : reader_.Damaged("description of the media set");
  }
  if (stream.type == kConfiguration) {
    CAPSTAN_ASSIGN_OR_RETURN(const ByteVector content, Collect(stream.length, kConfigurationMax));
    return CheckConfiguration(block, content);
  }
  if (stream.type == StreamType::kSetMap) {
    return CheckSetMap(stream);
  }
  if (stream.type == kPages || stream.type == kLog) {
    return CheckData(stream);
  }
  if (stream.type == kChecksum) {
    return CheckSum(stream);
  }
  if (stream.type == kTrailerAlign) {
    return TakeZeros(stream.length, "padding in front of the set map");
  }
  return Pass(stream.length);
}

Status FamilyVerifier::CheckSetMap(const StreamHeader& stream) {
  CAPSTAN_ASSIGN_OR_RETURN(const ByteVector content, Collect(stream.length, kSetMapMax));
  if (!Wanted() || !end_.final_known) {
    return OkStatus();
  }
  const SetFacts& facts = end_.facts;
  const auto size = reader_.in_container() ? facts.compressed_backup_size : facts.backup_size;
  const ExpectedSet expected{.media_family_id = tape_.media_family_id,
                             .media_sequence_number = tape_.media_sequence_number,
                             .position = position_,
                             .set_block = set_block_.bytes,
                             .volume_block = volume_block_.bytes,
                             .displayable_size = size.value_or(0)};
  return SetMapAgrees(content, expected) ? OkStatus() : reader_.Damaged("set map");
}

// Data of a set that is not asked for is left out; its blocks are walked for where they lead.
Status FamilyVerifier::CheckData(const StreamHeader& stream) {
  if (!Wanted()) {
    return Pass(stream.length);
  }
  const bool has_sum = (stream.format_attributes & kHasChecksum) != 0;
  sum_expected_ = sum_expected_ || has_sum;
  std::uint64_t left = stream.length;
  if (left != 0 && lead_left_ != 0) {
    const std::uint64_t lead = std::min<std::uint64_t>(left, lead_left_);
    CAPSTAN_RETURN_IF_ERROR(TakeZeros(lead, "first bytes of a data stream"));
    lead_left_ -= static_cast<std::uint32_t>(lead);
    left -= lead;
  }
  while (left != 0) {
    CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes,
                             reader_.Take(std::min<std::uint64_t>(left, ForwardReader::kTakeMax)));
    left -= bytes.size();
    if (has_sum) {
      sum_.Add(bytes);
    }
    if (stream.type == kPages && extents_ && !extents_->Add(bytes)) {
      return SqlError(65004, reader_.device_name(), reader_.PlaceOf(bytes),
                      "pages that are not of the database, in an extent that ends hereabouts");
    }
    CAPSTAN_RETURN_IF_ERROR(Report());
  }
  return OkStatus();
}

Status FamilyVerifier::CheckSum(const StreamHeader& stream) {
  const std::uint64_t place = reader_.place();
  CAPSTAN_ASSIGN_OR_RETURN(const ByteVector content, Collect(stream.length, sizeof(std::uint32_t)));
  if (content.size() != sizeof(std::uint32_t)) {
    return reader_.Damaged("length of a checksum stream");
  }
  if (!Wanted() || !options_.check_sums) {
    sum_expected_ = false;
    return OkStatus();
  }
  if (!sum_expected_ || LoadStruct<std::uint32_t>(content) != sum_.Finish()) {
    return SqlError(65004, reader_.device_name(), place, "the checksum of the data before it");
  }
  sum_expected_ = false;
  return OkStatus();
}

Result<ByteVector> FamilyVerifier::Collect(std::uint64_t length, std::uint64_t length_max) {
  if (length > length_max) {
    return reader_.Damaged("stream length");
  }
  ByteVector content;
  while (content.size() < length) {
    CAPSTAN_ASSIGN_OR_RETURN(
        const Bytes bytes,
        reader_.Take(std::min<std::uint64_t>(length - content.size(), ForwardReader::kTakeMax)));
    AppendBytes(&content, bytes);
  }
  return content;
}

Status FamilyVerifier::TakeZeros(std::uint64_t length, std::string_view what) {
  while (length != 0) {
    CAPSTAN_ASSIGN_OR_RETURN(
        const Bytes bytes, reader_.Take(std::min<std::uint64_t>(length, ForwardReader::kTakeMax)));
    if (!AllZero(bytes)) {
      return MediumDamaged(reader_.device_name(), reader_.PlaceOf(bytes), what);
    }
    length -= bytes.size();
  }
  return OkStatus();
}

Status FamilyVerifier::Pass(std::uint64_t length) {
  if (!Wanted()) {
    reader_.Skip(length);
    return OkStatus();
  }
  while (length != 0) {
    CAPSTAN_ASSIGN_OR_RETURN(
        const Bytes bytes, reader_.Take(std::min<std::uint64_t>(length, ForwardReader::kTakeMax)));
    length -= bytes.size();
    CAPSTAN_RETURN_IF_ERROR(Report());
  }
  return OkStatus();
}

}  // namespace capstan::media::sqlserver
