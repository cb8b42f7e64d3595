#include "server/media/set_composer.h"

#include <algorithm>
#include <array>
#include <string>

#include "server/media/descriptor_codec.h"
#include "server/media/frame.h"
#include "server/media/set_map.h"
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
Status AppendChecked(ByteVector* out, const Block& block, const VariablePart& variable,
                     const MediumForm& form) {
  if (RoundUp(variable.end(), 4) > form.format_logical_block) {
    return SqlError(3244, form.format_logical_block)
        .WithHint("the names of medium, set, user, machine and database share this space");
  }
  AppendBlock(out, block, variable);
  return OkStatus();
}

// Of every block of the set.
std::uint32_t CommonAttributes(const BackupSet& set) {
  return set.compressed() ? kSetIsCompressed : 0;
}

std::uint32_t HeadAttributes(const BackupSet& set, const SetHeadFacts& facts) {
  return CommonAttributes(set) | (facts.continued ? kContinuation : 0);
}

// Of its SSET, wherever it stands.
std::uint32_t SetBlockAttributes(const BackupSet& set) {
  return CommonAttributes(set) | (set.encrypted() ? kSetIsEncrypted : 0);
}

Status AppendSet(ByteVector* out, const BackupSet& set, const MediumForm& form,
                 const SetHeadFacts& facts) {
  // FamilyWriter::Create has refused what has no form.
  SetBlock block{
      .attributes = SetAttributes(set),
      .compression_algorithm = PayloadFormOf(set).value_or(PayloadForm()).codec_algorithm(),
      .software_vendor_id = kSoftwareVendorId,
      .set_number = set.position,
      .pba = facts.pba,
      .date = LocalDate(set, set.start_unix_s),
      .software_major = static_cast<std::uint8_t>(set.software_major),
      .software_minor = static_cast<std::uint8_t>(set.software_minor),
      .time_zone = set.time_zone_quarter_hours,
      .mtf_minor = kMtfMinor,
      .catalog_version = kCatalogType1Version};
  block.header.attributes = HeadAttributes(set, facts) | SetBlockAttributes(set) |
                            (facts.only_end_follows ? kEndOfSetAtEom : 0);
  block.header.fla = facts.fla;
  block.header.string_type = kStringUtf16;
  VariablePart variable(sizeof(block));
  const SetOsData os_data{.backup_set_guid = set.backup_set_guid.bytes,
                          .expiration = LocalDate(set, set.expiration_unix_s)};
  block.header.os_data = variable.AddBytes(AsBytes(os_data));
  block.name = variable.AddString(set.name);
  block.description = variable.AddString(set.description);
  block.user_name = variable.AddString(set.user_name);
  CAPSTAN_RETURN_IF_ERROR(AppendChecked(out, block, variable, form));
  AppendPad(out, form.format_logical_block);
  return OkStatus();
}

void AppendProof(ByteVector* out, AuthenticationStream stream, std::size_t covered_from) {
  AppendSealedStream(out, StreamType::kAuthentication,
                     AsBytes(stream).first(sizeof(stream) - sizeof(StreamSeal)), covered_from);
}

// The descriptor's seal covers from the SSET on, with which `out` begins. Returns where the next
// seal's coverage begins.
Result<std::size_t> AppendVolume(ByteVector* out, const BackupSet& set, const MediumForm& form,
                                 const SetHeadFacts& facts) {
  VolumeBlock block{.attributes = kVolumeIsDriveLetter, .date = LocalDate(set, set.start_unix_s)};
  block.header.attributes = HeadAttributes(set, facts);
  block.header.fla = facts.fla + out->size() / form.format_logical_block;
  block.header.control_block_id = 1;
  block.header.string_type = kStringUtf16;
  VariablePart variable(sizeof(block));
  constexpr std::array<std::uint32_t, 2> kOsData{};  // file system flags, attributes
  block.header.os_data = variable.AddBytes(AsBytes(kOsData));
  block.device_name = variable.AddString(kDeviceName);
  block.machine_name = variable.AddString(set.machine_name);
  CAPSTAN_RETURN_IF_ERROR(AppendChecked(out, block, variable, form));

  const ByteVector content = DescriptorContent(set, false);
  if (content.size() > kDescriptorSizeMax) {
    return Error(Code::kResourceExhausted,
                 "unable to describe {} files of database '{}' on a medium", set.files.size(),
                 set.database_name);
  }
  AppendSealedStream(out, StreamType::kDescriptor, content, 0);
  std::size_t covered_from = out->size();
  if (facts.proof) {
    AppendProof(out,
                {.what = static_cast<std::uint16_t>(AuthenticatedPart::kHead),
                 .restarts = facts.restarts,
                 .tag = *facts.proof},
                covered_from);
    covered_from = out->size();
  }
  AppendPad(out, form.format_logical_block);
  return covered_from;
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
};

struct DirectoryFacts {
  const MediumForm& form;
  const SetHeadFacts& set;
};

Status AppendDirectory(ByteVector* out, const BackupSet& set, const DirectoryEntry& entry,
                       const DirectoryFacts& facts) {
  const MtfDate date = LocalDate(set, set.start_unix_s);
  DirectoryBlock block{.modified = date,
                       .created = date,
                       .backed_up = date,
                       .accessed = date,
                       .directory_id = entry.directory_id};
  block.header.attributes = HeadAttributes(set, facts.set);
  block.header.fla = facts.set.fla + out->size() / facts.form.format_logical_block;
  block.header.control_block_id = entry.directory_id + 1;
  block.header.string_type = kStringUtf16;
  VariablePart variable(sizeof(block));
  constexpr std::array<std::uint32_t, 2> kOsData{0x10, 0};  // directory; no short name
  block.header.os_data = variable.AddBytes(AsBytes(kOsData));
  std::u16string path = ToUtf16(entry.name);
  path.push_back(u'\0');
  block.path = variable.AddUtf16(path);
  return AppendChecked(out, block, variable, facts.form);
}

void AppendEndOfSet(ByteVector* out, const BackupSet& set, std::uint32_t control_block_id,
                    EndOfSetBlock block) {
  block.header.attributes = CommonAttributes(set);
  block.header.control_block_id = control_block_id;
  block.attributes = SetAttributes(set);
  block.set_number = set.position;
  block.date = LocalDate(set, set.finish_unix_s);
  AppendBlock(out, block, VariablePart(sizeof(block)));
}

std::uint32_t EndOfSetControlBlockId(const TrailerFacts& facts) {
  return static_cast<std::uint32_t>(kFirstFrameControlBlockId + facts.frames_on_medium);
}

// Type 1 set map: the sets before, as their own set map had them, and this one of one volume, both
// on the medium where the set begins.
ByteVector SetMapContent(const MediaHeader& header, const BackupSet& set,
                         const TrailerFacts& facts) {
  SetMapEntry entry{.media_sequence_number = facts.set_medium,
                    .block_attributes = SetBlockAttributes(set),
                    .set_attributes = SetAttributes(set),
                    .set_pba = facts.set_pba,
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

  SetMapVolume volume{.media_sequence_number = facts.set_medium,
                      .fla = 1,
                      .attributes = kVolumeIsDriveLetter,
                      .date = LocalDate(set, set.start_unix_s)};
  VariablePart volume_strings(sizeof(volume));
  volume.device_name = volume_strings.AddString(kDeviceName);
  volume.machine_name = volume_strings.AddString(set.machine_name);
  volume.length = static_cast<std::uint16_t>(volume_strings.end());

  std::size_t size = 0;
  auto first = facts.set_map->end();
  while (first != facts.set_map->begin() && size + std::prev(first)->size() <= kSetMapSizeMax) {
    --first;
    size += first->size();
  }
  ByteVector content;
  const auto count = static_cast<std::uint16_t>(facts.set_map->end() - first + 1);
  AppendBytes(&content,
              AsBytes(SetMapHeader{.media_family_id = header.media_family_id, .set_count = count}));
  for (; first != facts.set_map->end(); ++first) {
    AppendBytes(&content, *first);
  }
  AppendBytes(&content, AsBytes(entry));
  strings.AppendTo(&content);
  AppendBytes(&content, AsBytes(volume));
  volume_strings.AppendTo(&content);
  return content;
}

ByteVector MediaMapContent(const std::vector<MediaMapEntry>& media) {
  ByteVector content;
  AppendBytes(&content, AsBytes(MediaMapStream{.count = static_cast<std::uint16_t>(media.size())}));
  for (const MediaMapEntry& entry : media) {
    AppendBytes(&content, AsBytes(entry));
  }
  return content;
}

void AppendSpan(ByteVector* out, StreamType type, const SpanStream& span,
                std::size_t covered_from) {
  AppendSealedStream(out, type, AsBytes(span).first(sizeof(span) - sizeof(StreamSeal)),
                     covered_from);
}

// In front of the frames.
Status AppendLastPad(ByteVector* out, const MediumForm& form, const SetHeadFacts& facts) {
  const std::uint64_t behind_header = RoundUp(out->size(), 4) + sizeof(StreamHeader);
  if (facts.size &&
      (*facts.size < behind_header || *facts.size - behind_header > kTransferSizeMax)) {
    return Error(Code::kOutOfRange,
                 "what stands in front of the frames takes {} bytes and cannot be put in {}",
                 RoundUp(behind_header, PhysicalBlock(form)), *facts.size);
  }
  AppendPad(out, facts.size.value_or(PhysicalBlock(form)));
  return OkStatus();
}

}  // namespace

ByteVector DescriptorContent(const BackupSet& set, bool is_final) {
  const std::string encoded = EncodeDescriptor(set);
  const DescriptorStream head{.is_final = is_final ? std::uint16_t{1} : std::uint16_t{0},
                              .length = static_cast<std::uint32_t>(encoded.size())};
  ByteVector content;
  AppendBytes(&content, AsBytes(head));
  AppendBytes(&content, std::as_bytes(std::span(encoded)));
  return content;
}

ByteVector FamiliesContent(const std::vector<FamilySummary>& families) {
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

std::uint32_t PhysicalBlock(const MediumForm& form) {
  return form.hard_filemarks ? std::max(form.block_size, kPhysicalBlock) : kPhysicalBlock;
}

SpanStream MakeSpan(const BackupSet& set, std::uint16_t media_sequence_number,
                    const FamilySummary& before) {
  return {.media_sequence_number = media_sequence_number,
          .set_number = set.position,
          .backup_set_guid = set.backup_set_guid.bytes,
          .frame_count = before.frame_count,
          .payload_bytes = before.payload_bytes,
          .digest = before.digest};
}

Result<ByteVector> ComposeTape(const MediaHeader& header, const BackupSet& set,
                               const MediumForm& form, const SpanStream* continued) {
  TapeBlock block{.media_family_id = header.media_family_id,
                  .attributes = (form.soft_filemark_units != 0 ? kTapeSoftFilemarks : 0) |
                                (header.description_is_label ? kTapeDescriptionIsLabel : 0),
                  .media_sequence_number = header.media_sequence_number,
                  .soft_filemark_units = form.soft_filemark_units,
                  .catalog_type = kCatalogType1,
                  .format_logical_block = form.format_logical_block,
                  .software_vendor_id = header.software_vendor_id,
                  .date = LocalDate(set, header.date_unix_s),
                  .mtf_major = kMtfMajor};
  block.header.attributes = kTapeHasSetMap | (continued != nullptr ? kContinuation : 0);
  block.header.string_type = kStringUtf16;
  VariablePart variable(sizeof(block));
  block.name = variable.AddString(header.name);
  block.description = variable.AddString(header.description);
  block.software_name = variable.AddString(header.software_name);
  ByteVector out;
  CAPSTAN_RETURN_IF_ERROR(AppendChecked(&out, block, variable, form));

  const MediaSetStream stream{.compressed = header.compressed ? std::uint16_t{1} : std::uint16_t{0},
                              .media_set_id = header.media_set_id.bytes,
                              .family_count = header.family_count,
                              .family_number = header.family_number,
                              .mirror_count = header.mirror_count,
                              .encrypted = header.encrypted ? std::uint16_t{1} : std::uint16_t{0},
                              .date_unix_s = header.date_unix_s};
  AppendSealedStream(&out, StreamType::kMediaSet,
                     AsBytes(stream).first(sizeof(stream) - sizeof(StreamSeal)), 0);
  if (continued != nullptr) {
    AppendSpan(&out, StreamType::kContinued, *continued, out.size());
  }
  AppendPad(&out, PhysicalBlock(form));
  return out;
}

Result<ByteVector> ComposeSetHead(const BackupSet& set, const MediumForm& form,
                                  const SetHeadFacts& facts) {
  ByteVector out;
  CAPSTAN_RETURN_IF_ERROR(AppendSet(&out, set, form, facts));
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t covered_from, AppendVolume(&out, set, form, facts));

  const DirectoryFacts place{.form = form, .set = facts};
  CAPSTAN_RETURN_IF_ERROR(AppendDirectory(&out, set, {.directory_id = 1, .name = ""}, place));
  AppendPad(&out, form.format_logical_block);
  CAPSTAN_RETURN_IF_ERROR(AppendDirectory(
      &out, set, {.directory_id = 2, .name = DirectoryComponent(set.database_name)}, place));
  const SetBeginStream begin{
      .packing = static_cast<std::uint16_t>(PackingOf(set, form) / kPackingUnit),
      .transfer_size = set.transfer_size};
  AppendSealedStream(&out, StreamType::kSetBegin,
                     AsBytes(begin).first(sizeof(begin) - sizeof(StreamSeal)), covered_from);
  CAPSTAN_RETURN_IF_ERROR(AppendLastPad(&out, form, facts));
  return out;
}

TrailerHead ComposeTrailerHead(const MediaHeader& header, const BackupSet& final_set,
                               const TrailerFacts& facts) {
  TrailerHead head;
  ByteVector out;  // alignment counts from the filemark's end
  AppendEndOfSet(&out, final_set, EndOfSetControlBlockId(facts), {});

  // The set map's header has to stand on a physical block: the descriptor is filled up to there.
  const std::uint32_t unit = PhysicalBlock(facts.form);
  ByteVector descriptor = DescriptorContent(final_set, true);
  const std::size_t data = out.size() + sizeof(StreamHeader);
  descriptor.resize(RoundUp(data + descriptor.size() + sizeof(StreamSeal), unit) - data -
                    sizeof(StreamSeal));
  AppendSealedStream(&out, StreamType::kDescriptor, descriptor, 0);
  std::size_t covered_from = out.size();
  if (facts.set_map) {
    head.set_map_offset = out.size();
    AppendStream(&out, StreamType::kSetMap, SetMapContent(header, final_set, facts));
  }
  AppendSealedStream(&out, StreamType::kFamilies, FamiliesContent(facts.families), covered_from);
  if (!facts.media.empty()) {
    covered_from = out.size();
    AppendSealedStream(&out, StreamType::kMediaMap, MediaMapContent(facts.media), covered_from);
  }

  head.index_covered_from = out.size();
  out.resize(RoundUp(out.size(), 4));
  const std::size_t record_size = IndexRecord::SizeOf(final_set.compressed());
  const FrameIndexStream index{.entry_size = static_cast<std::uint16_t>(record_size),
                               .count = facts.frame_count};
  AppendBytes(&out, AsBytes(MakeStreamHeader(
                        StreamType::kFrameIndex,
                        sizeof(index) + index.count * record_size + sizeof(StreamSeal))));
  AppendBytes(&out, AsBytes(index));

  if (!facts.form.hard_filemarks) {
    FilemarkTrail(facts.form, facts.filemarks).Append(&head.bytes, facts.offset);
    head.index_covered_from += head.bytes.size();
  }
  AppendBytes(&head.bytes, out);
  return head;
}

ByteVector ComposeTrailerTail(const BackupSet& final_set, const TrailerFacts& facts,
                              const CatalogPlace& place, std::uint64_t lead) {
  // Composed as if from the start of the physical block that it begins in, then cut.
  const std::uint32_t unit = PhysicalBlock(facts.form);
  const std::size_t cut = (lead - facts.form.filemark_size()) % unit;
  ByteVector out(cut);
  AppendPad(&out, unit);
  const std::size_t block_start = out.size();
  AppendEndOfSet(&out, final_set, EndOfSetControlBlockId(facts) + 1,
                 {.first_pba = place.end_of_set_pba, .set_map_pba = place.set_map_pba});
  std::size_t covered_from = block_start;
  if (facts.proof) {
    AppendProof(&out,
                {.what = static_cast<std::uint16_t>(AuthenticatedPart::kEnd),
                 .restarts = facts.restarts,
                 .tag = *facts.proof},
                covered_from);
    covered_from = out.size();
  }
  const SetEndStream end;
  AppendSealedStream(&out, StreamType::kSetEnd,
                     AsBytes(end).first(sizeof(end) - sizeof(StreamSeal)), covered_from);
  AppendPad(&out, unit);
  if (!facts.form.hard_filemarks) {
    FilemarkTrail marks(facts.form, facts.filemarks);
    ByteVector first;
    marks.Append(&first, facts.offset);
    marks.Append(&out, facts.offset + lead - cut + out.size());
  }
  out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(cut));
  return out;
}

ByteVector ComposeEndOfMedium(const MediumForm& form, const SpanStream& span, bool behind_sets) {
  ByteVector out;
  EndOfMediumBlock block;
  block.header.attributes = behind_sets ? kEotmEsetUnknown : kEotmHasNoEset;
  AppendBlock(&out, block, VariablePart(sizeof(block)));
  AppendSpan(&out, StreamType::kMediumEnd, span, 0);
  AppendPad(&out, PhysicalBlock(form));
  return out;
}

}  // namespace capstan::media
