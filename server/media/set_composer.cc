#include "server/media/set_composer.h"

#include <array>
#include <string>

#include "server/media/descriptor_codec.h"
#include "server/messages/messages.h"
#include "vdi/base/check.h"

namespace capstan::media {
namespace {

constexpr std::string_view kDeviceName = "C:";  // readers want a drive letter

std::uint32_t SetAttributes(const BackupSet& set) {
  const std::uint32_t kind = set.kind == SetKind::kDifferential ? kSetDifferential : kSetNormal;
  return kind | (set.copy_only ? kSetCopy : 0);
}

MtfDate LocalDate(const BackupSet& set, std::int64_t unix_s) {
  return PackDate(unix_s, set.time_zone_quarter_hours);
}

// Appends the block unless it is larger than a format logical block.
template <typename Block>
Status AppendChecked(ByteVector* out, const Block& block, const VariablePart& variable) {
  if (RoundUp(variable.end(), 4) > kFormatLogicalBlock) {
    return SqlError(3244, kFormatLogicalBlock)
        .WithHint("the names of medium, set, user, machine and database share this space");
  }
  AppendBlock(out, block, variable);
  return OkStatus();
}

Status AppendTape(ByteVector* out, const MediaHeader& header, const BackupSet& set) {
  TapeBlock block{.media_family_id = header.media_family_id,
                  .attributes = kTapeSoftFilemarks |
                                (header.description_is_label ? kTapeDescriptionIsLabel : 0),
                  .media_sequence_number = header.media_sequence_number,
                  .soft_filemark_units = kPhysicalBlock / 512,
                  .catalog_type = kCatalogType1,
                  .format_logical_block = kFormatLogicalBlock,
                  .software_vendor_id = header.software_vendor_id,
                  .date = LocalDate(set, header.date_unix_s),
                  .mtf_major = kMtfMajor};
  block.header.attributes = kTapeHasSetMap;
  block.header.string_type = kStringUtf16;
  VariablePart variable(sizeof(block));
  block.name = variable.AddString(header.name);
  block.description = variable.AddString(header.description);
  block.software_name = variable.AddString(header.software_name);
  const std::size_t start = out->size();
  CAPSTAN_RETURN_IF_ERROR(AppendChecked(out, block, variable));

  MediaSetStream stream{.compressed = header.compressed ? std::uint16_t{1} : std::uint16_t{0},
                        .media_set_id = header.media_set_id.bytes,
                        .family_count = header.family_count,
                        .family_number = header.family_number,
                        .mirror_count = header.mirror_count,
                        .date_unix_s = header.date_unix_s};
  AppendSealedStream(out, StreamType::kMediaSet,
                     AsBytes(stream).first(sizeof(stream) - sizeof(StreamSeal)), start);
  AppendPad(out, kPhysicalBlock);
  return OkStatus();
}

Status AppendSet(ByteVector* out, const BackupSet& set) {
  SetBlock block{.attributes = SetAttributes(set),
                 .software_vendor_id = kSoftwareVendorId,
                 .set_number = set.position,
                 .pba = out->size() / kPhysicalBlock,
                 .date = LocalDate(set, set.start_unix_s),
                 .software_major = static_cast<std::uint8_t>(set.software_major),
                 .software_minor = static_cast<std::uint8_t>(set.software_minor),
                 .time_zone = set.time_zone_quarter_hours,
                 .mtf_minor = kMtfMinor,
                 .catalog_version = kCatalogType1Version};
  block.header.string_type = kStringUtf16;
  VariablePart variable(sizeof(block));
  const SetOsData os_data{.backup_set_guid = set.backup_set_guid.bytes,
                          .expiration = LocalDate(set, set.expiration_unix_s)};
  block.header.os_data = variable.AddBytes(AsBytes(os_data));
  block.name = variable.AddString(set.name);
  block.description = variable.AddString(set.description);
  block.user_name = variable.AddString(set.user_name);
  CAPSTAN_RETURN_IF_ERROR(AppendChecked(out, block, variable));
  AppendPad(out, kFormatLogicalBlock);
  return OkStatus();
}

ByteVector DescriptorContent(const BackupSet& set, bool is_final) {
  const std::string encoded = EncodeDescriptor(set);
  const DescriptorStream head{.is_final = is_final ? std::uint16_t{1} : std::uint16_t{0},
                              .length = static_cast<std::uint32_t>(encoded.size())};
  ByteVector content;
  AppendBytes(&content, AsBytes(head));
  AppendBytes(&content, std::as_bytes(std::span(encoded)));
  return content;
}

// `set_start` is where the SSET stands, from which the descriptor's seal covers.
Status AppendVolume(ByteVector* out, const BackupSet& set, std::size_t set_start) {
  VolumeBlock block{.attributes = kVolumeIsDriveLetter, .date = LocalDate(set, set.start_unix_s)};
  block.header.fla = (out->size() - set_start) / kFormatLogicalBlock;
  block.header.control_block_id = 1;
  block.header.string_type = kStringUtf16;
  VariablePart variable(sizeof(block));
  constexpr std::array<std::uint32_t, 2> kOsData{};  // file system flags, attributes
  block.header.os_data = variable.AddBytes(AsBytes(kOsData));
  block.device_name = variable.AddString(kDeviceName);
  block.machine_name = variable.AddString(set.machine_name);
  CAPSTAN_RETURN_IF_ERROR(AppendChecked(out, block, variable));

  const ByteVector content = DescriptorContent(set, false);
  if (content.size() > kDescriptorSizeMax) {
    return Error(Code::kResourceExhausted,
                 "unable to describe {} files of database '{}' on a medium", set.files.size(),
                 set.database_name);
  }
  AppendSealedStream(out, StreamType::kDescriptor, content, set_start);
  AppendPad(out, kFormatLogicalBlock);
  return OkStatus();
}

// A directory's name: components end in a null character each, and the root has none.
std::string DirectoryComponent(const std::string& database_name) {
  std::string name = database_name;
  for (char& c : name) {
    c = c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ? '_' : c;
  }
  return name;
}

struct DirectoryEntry {
  std::uint32_t directory_id;
  std::string name;  // empty: the root
  std::size_t set_start;
};

Status AppendDirectory(ByteVector* out, const BackupSet& set, const DirectoryEntry& entry) {
  const MtfDate date = LocalDate(set, set.start_unix_s);
  DirectoryBlock block{.modified = date,
                       .created = date,
                       .backed_up = date,
                       .accessed = date,
                       .directory_id = entry.directory_id};
  block.header.fla = (out->size() - entry.set_start) / kFormatLogicalBlock;
  block.header.control_block_id = entry.directory_id + 1;
  block.header.string_type = kStringUtf16;
  VariablePart variable(sizeof(block));
  constexpr std::array<std::uint32_t, 2> kOsData{0x10, 0};  // directory; no short name
  block.header.os_data = variable.AddBytes(AsBytes(kOsData));
  std::u16string path = ToUtf16(entry.name);
  path.push_back(u'\0');
  block.path = variable.AddUtf16(path);
  return AppendChecked(out, block, variable);
}

void AppendEndOfSet(ByteVector* out, const BackupSet& set, std::uint32_t control_block_id,
                    EndOfSetBlock block) {
  block.header.control_block_id = control_block_id;
  block.attributes = SetAttributes(set);
  block.set_number = set.position;
  block.date = LocalDate(set, set.finish_unix_s);
  AppendBlock(out, block, VariablePart(sizeof(block)));
}

std::uint32_t EndOfSetControlBlockId(const TrailerFacts& facts) {
  return static_cast<std::uint32_t>(kFirstFrameControlBlockId + facts.frame_count);
}

// Type 1 set map: one set of one volume.
ByteVector SetMapContent(const MediaHeader& header, const BackupSet& set,
                         const TrailerFacts& facts) {
  SetMapEntry entry{.media_sequence_number = header.media_sequence_number,
                    .set_attributes = SetAttributes(set),
                    .set_pba = kFirstSetOffset / kPhysicalBlock,
                    .set_number = set.position,
                    .directory_count = 2,
                    .file_count = static_cast<std::uint32_t>(facts.frame_count),
                    .displayable_size = set.backup_size_bytes,
                    .volume_count = 1,
                    .date = LocalDate(set, set.start_unix_s),
                    .time_zone = set.time_zone_quarter_hours,
                    .mtf_minor = kMtfMinor,
                    .catalog_version = kCatalogType1Version};
  VariablePart strings(sizeof(entry));
  entry.name = strings.AddString(set.name);
  entry.description = strings.AddString(set.description);
  entry.user_name = strings.AddString(set.user_name);
  entry.length = static_cast<std::uint16_t>(strings.end());

  SetMapVolume volume{.media_sequence_number = header.media_sequence_number,
                      .fla = 1,
                      .attributes = kVolumeIsDriveLetter,
                      .date = LocalDate(set, set.start_unix_s)};
  VariablePart volume_strings(sizeof(volume));
  volume.device_name = volume_strings.AddString(kDeviceName);
  volume.machine_name = volume_strings.AddString(set.machine_name);
  volume.length = static_cast<std::uint16_t>(volume_strings.end());

  ByteVector content;
  AppendBytes(&content,
              AsBytes(SetMapHeader{.media_family_id = header.media_family_id, .set_count = 1}));
  AppendBytes(&content, AsBytes(entry));
  strings.AppendTo(&content);
  AppendBytes(&content, AsBytes(volume));
  volume_strings.AppendTo(&content);
  return content;
}

ByteVector FamiliesContent(std::span<const FamilySummary> families) {
  ByteVector content;
  AppendBytes(&content,
              AsBytes(FamiliesStream{.count = static_cast<std::uint16_t>(families.size())}));
  for (const FamilySummary& family : families) {
    AppendBytes(&content, AsBytes(FamilyEntry{.family_number = family.family_number,
                                              .digest = family.digest,
                                              .frame_count = family.frame_count,
                                              .payload_bytes = family.payload_bytes}));
  }
  return content;
}

}  // namespace

Result<ByteVector> ComposePreamble(const MediaHeader& header, const BackupSet& set) {
  ByteVector out;
  CAPSTAN_RETURN_IF_ERROR(AppendTape(&out, header, set));
  AppendFilemark(&out, 1, static_cast<std::uint32_t>(out.size() / kPhysicalBlock), {});
  const std::size_t set_start = out.size();
  CAPSTAN_CHECK(set_start == kFirstSetOffset);
  CAPSTAN_RETURN_IF_ERROR(AppendSet(&out, set));

  const std::size_t volume_start = out.size();
  CAPSTAN_RETURN_IF_ERROR(AppendVolume(&out, set, set_start));
  // The next seal covers from behind this one, which ends where the volume's padding begins.
  const auto volume = LoadStruct<BlockHeader>(Bytes(out).subspan(volume_start));
  const auto stream =
      LoadStruct<StreamHeader>(Bytes(out).subspan(volume_start + volume.first_event_offset));
  const std::size_t covered_from =
      volume_start + volume.first_event_offset + sizeof(StreamHeader) + stream.length;

  CAPSTAN_RETURN_IF_ERROR(
      AppendDirectory(&out, set, {.directory_id = 1, .name = "", .set_start = set_start}));
  AppendPad(&out, kFormatLogicalBlock);
  CAPSTAN_RETURN_IF_ERROR(AppendDirectory(
      &out, set,
      {.directory_id = 2, .name = DirectoryComponent(set.database_name), .set_start = set_start}));
  const SetBeginStream begin{.transfer_size = set.transfer_size};
  AppendSealedStream(&out, StreamType::kSetBegin,
                     AsBytes(begin).first(sizeof(begin) - sizeof(StreamSeal)), covered_from);
  AppendPad(&out, kPhysicalBlock);
  return out;
}

TrailerHead ComposeTrailerHead(const MediaHeader& header, const BackupSet& final_set,
                               const TrailerFacts& facts) {
  TrailerHead head;
  ByteVector& out = head.bytes;
  const auto own_block = static_cast<std::uint32_t>(facts.offset / kPhysicalBlock);
  constexpr std::array<std::uint32_t, 1> kPrevious = {1};
  AppendFilemark(&out, 2, own_block, kPrevious);
  const std::size_t block_start = out.size();
  AppendEndOfSet(&out, final_set, EndOfSetControlBlockId(facts), {});

  // The set map's header has to stand on a physical block: the descriptor is filled up to there.
  ByteVector descriptor = DescriptorContent(final_set, true);
  const std::size_t data = out.size() + sizeof(StreamHeader);
  descriptor.resize(RoundUp(data + descriptor.size() + sizeof(StreamSeal), kPhysicalBlock) - data -
                    sizeof(StreamSeal));
  AppendSealedStream(&out, StreamType::kDescriptor, descriptor, block_start);
  const std::size_t families_from = out.size();
  head.set_map_block = own_block + static_cast<std::uint32_t>(out.size() / kPhysicalBlock);
  AppendStream(&out, StreamType::kSetMap, SetMapContent(header, final_set, facts));
  AppendSealedStream(&out, StreamType::kFamilies, FamiliesContent(facts.families), families_from);

  head.index_covered_from = out.size();
  out.resize(RoundUp(out.size(), 4));
  const FrameIndexStream index{.count = facts.frame_count};
  AppendBytes(&out, AsBytes(MakeStreamHeader(
                        StreamType::kFrameIndex,
                        sizeof(index) + index.count * sizeof(IndexEntry) + sizeof(StreamSeal))));
  AppendBytes(&out, AsBytes(index));
  return head;
}

ByteVector ComposeTrailerTail(const BackupSet& final_set, const TrailerFacts& facts,
                              std::uint32_t set_map_block, std::uint64_t offset) {
  // Composed as if from the start of the physical block that it begins in, then cut.
  const std::size_t lead = offset % kPhysicalBlock;
  ByteVector out(lead);
  AppendPad(&out, kPhysicalBlock);
  const std::size_t block_start = out.size();
  const auto mark_block = static_cast<std::uint32_t>(facts.offset / kPhysicalBlock);
  AppendEndOfSet(&out, final_set, EndOfSetControlBlockId(facts) + 1,
                 {.first_pba = mark_block + 1, .set_map_pba = set_map_block});
  const SetEndStream end;
  AppendSealedStream(&out, StreamType::kSetEnd,
                     AsBytes(end).first(sizeof(end) - sizeof(StreamSeal)), block_start);
  AppendPad(&out, kPhysicalBlock);
  const std::array<std::uint32_t, 2> previous = {1, mark_block};
  AppendFilemark(&out, 3, static_cast<std::uint32_t>((offset - lead + out.size()) / kPhysicalBlock),
                 previous);
  out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(lead));
  return out;
}

}  // namespace capstan::media
