#include "server/media/block_fields.h"

#include "server/media/descriptor_codec.h"

namespace capstan::media {
namespace {

SetKind KindOf(std::uint32_t attributes) {
  return (attributes & kSetDifferential) != 0 ? SetKind::kDifferential : SetKind::kDatabase;
}

std::string BlockOctets(Bytes block, TapeAddress address) {
  if (std::size_t{address.offset} + address.size > block.size()) {
    return {};
  }
  const Bytes bytes = block.subspan(address.offset, address.size);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

MediaHeader ParseTape(Bytes block) {
  const auto tape = LoadStruct<TapeBlock>(block);
  const std::uint8_t strings = tape.header.string_type;
  return {.media_set_id = {},
          .media_family_id = tape.media_family_id,
          .media_sequence_number = tape.media_sequence_number,
          .name = BlockString(block, tape.name, strings),
          .description = BlockString(block, tape.description, strings),
          .description_is_label = (tape.attributes & kTapeDescriptionIsLabel) != 0,
          .software_name = BlockString(block, tape.software_name, strings),
          .software_vendor_id = tape.software_vendor_id,
          .date_unix_s = UnpackDate(tape.date, 0),
          .local_date = LocalDateText(tape.date).value_or(""),
          .by_other_program = tape.software_vendor_id != kSoftwareVendorId,
          .password_algorithm = tape.password_algorithm,
          .password_digest = BlockOctets(block, tape.password)};
}

BackupSet ParseSet(Bytes block) {
  const auto fixed = LoadStruct<SetBlock>(block);
  const std::uint8_t strings = fixed.header.string_type;
  BackupSet set;
  set.position = fixed.set_number;
  set.name = BlockString(block, fixed.name, strings);
  set.description = BlockString(block, fixed.description, strings);
  set.user_name = BlockString(block, fixed.user_name, strings);
  set.kind = KindOf(fixed.attributes);
  set.copy_only = (fixed.attributes & kSetCopy) != 0;
  set.software_major = fixed.software_major;
  set.software_minor = fixed.software_minor;
  set.time_zone_quarter_hours =
      fixed.time_zone == kTimeZoneUnset ? std::int8_t{0} : fixed.time_zone;
  set.start_unix_s = UnpackDate(fixed.date, fixed.time_zone);
  return set;
}

void ParseVolume(Bytes block, BackupSet* set) {
  const auto fixed = LoadStruct<VolumeBlock>(block);
  set->machine_name = BlockString(block, fixed.machine_name, fixed.header.string_type);
}

bool GeometryIsSound(const TapeBlock& tape) {
  return (tape.format_logical_block == 512 || tape.format_logical_block == 1024) &&
         tape.soft_filemark_units <= 64;
}

std::optional<MediaHeader> ParseMediaSetStream(Bytes content, const MediaHeader& tape) {
  if (content.size() != sizeof(MediaSetStream)) {
    return std::nullopt;
  }
  const auto stream = LoadStruct<MediaSetStream>(content);
  if (stream.version != kStreamVersion || stream.compressed > 1 || stream.encrypted > 1 ||
      stream.family_count == 0 || stream.family_count > kFamilyCountMax ||
      stream.family_number == 0 || stream.family_number > stream.family_count) {
    return std::nullopt;
  }
  MediaHeader header = tape;
  header.media_set_id.bytes = stream.media_set_id;
  header.family_count = stream.family_count;
  header.family_number = stream.family_number;
  header.mirror_count = stream.mirror_count;
  header.compressed = stream.compressed == 1;
  header.encrypted = stream.encrypted == 1;
  header.date_unix_s = stream.date_unix_s;
  return header;
}

std::optional<BackupSet> ParseDescriptorStream(Bytes content, bool is_final) {
  if (content.size() < sizeof(DescriptorStream) + sizeof(StreamSeal)) {
    return std::nullopt;
  }
  const auto head = LoadStruct<DescriptorStream>(content);
  const Bytes body =
      content.subspan(sizeof(head), content.size() - sizeof(head) - sizeof(StreamSeal));
  if (head.version != kStreamVersion || head.is_final != (is_final ? 1 : 0) ||
      head.length > body.size()) {
    return std::nullopt;
  }
  return DecodeDescriptor(body.first(head.length));
}

std::optional<std::vector<FamilySummary>> ParseFamiliesStream(Bytes content) {
  if (content.size() < sizeof(FamiliesStream) + sizeof(StreamSeal)) {
    return std::nullopt;
  }
  const auto head = LoadStruct<FamiliesStream>(content);
  if (head.version != kStreamVersion || head.count > kFamilyCountMax ||
      content.size() != sizeof(head) + head.count * sizeof(FamilyEntry) + sizeof(StreamSeal)) {
    return std::nullopt;
  }
  std::vector<FamilySummary> families;
  for (std::size_t i = 0; i < head.count; ++i) {
    const auto entry =
        LoadStruct<FamilyEntry>(content.subspan(sizeof(head) + i * sizeof(FamilyEntry)));
    families.push_back({.family_number = entry.family_number,
                        .frame_count = entry.frame_count,
                        .payload_bytes = entry.payload_bytes,
                        .digest = entry.digest});
  }
  return families;
}

std::optional<std::vector<MediaMapEntry>> ParseMediaMapStream(Bytes content) {
  if (content.size() < sizeof(MediaMapStream) + sizeof(StreamSeal)) {
    return std::nullopt;
  }
  const auto head = LoadStruct<MediaMapStream>(content);
  if (head.version != kStreamVersion || head.count < 2 ||
      content.size() != sizeof(head) + head.count * sizeof(MediaMapEntry) + sizeof(StreamSeal)) {
    return std::nullopt;
  }
  std::vector<MediaMapEntry> media;
  for (std::size_t i = 0; i < head.count; ++i) {
    media.push_back(
        LoadStruct<MediaMapEntry>(content.subspan(sizeof(head) + i * sizeof(MediaMapEntry))));
  }
  return media;
}

std::optional<SpanStream> ParseSpanStream(Bytes content) {
  if (content.size() != sizeof(SpanStream)) {
    return std::nullopt;
  }
  const auto span = LoadStruct<SpanStream>(content);
  return span.version == kStreamVersion ? std::optional(span) : std::nullopt;
}

}  // namespace capstan::media
