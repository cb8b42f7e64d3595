#include "server/media/frame.h"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "server/media/block_composer.h"
#include "server/messages/messages.h"
#include "vdi/base/check.h"

namespace capstan::media {
namespace {

constexpr std::size_t kNumberDigits = 12;
constexpr std::uint64_t kNumberUnit = 512;  // the number in a frame's name counts sectors

// OS-specific data of a FILE block of Windows NT, version 1.
struct FileOsData {
  std::uint32_t file_attributes = 0x20;  // archive
  std::uint16_t short_name_offset = 0;
  std::uint16_t short_name_size = 0;
  std::uint32_t flags = 0;
};
static_assert(sizeof(FileOsData) == 12);

constexpr std::size_t kNameOffset = sizeof(FileBlock) + sizeof(FileOsData);

std::string LeafName(std::string_view path) {
  const std::size_t slash = path.find_last_of('/');
  std::string leaf(slash == std::string_view::npos ? path : path.substr(slash + 1));
  // A path of Windows has no slash; on Linux a backslash is a plain character, but not to every
  // program that will extract the medium.
  if (slash == std::string_view::npos) {
    leaf.erase(0, leaf.find_last_of('\\') + 1);
  }
  std::replace_if(
      leaf.begin(), leaf.end(),
      [](char c) { return c == '\\' || static_cast<unsigned char>(c) < 0x20; }, '_');
  return leaf.empty() ? "file" : leaf;
}

// Leaf names of the set's files; where two are the same, the file id tells them apart.
std::vector<std::u16string> FrameLeafNames(const BackupSet& set) {
  std::unordered_map<std::string, int> count;
  for (const BackupFile& file : set.files) {
    ++count[LeafName(file.physical_name)];
  }
  std::vector<std::u16string> names;
  names.reserve(set.files.size());
  for (const BackupFile& file : set.files) {
    std::string leaf = LeafName(file.physical_name);
    if (count[leaf] > 1) {
      leaf = fmt::format("{}.{}", leaf, file.file_id);
    }
    names.push_back(ToUtf16(leaf));
  }
  return names;
}

std::size_t NameSize(std::size_t leaf_units) {
  return (leaf_units + 1 + kNumberDigits + 1) * sizeof(char16_t);  // dot, digits, terminator
}

void WriteDigits(std::byte* target, std::uint64_t number) {
  for (std::size_t i = kNumberDigits; i-- > 0; number /= 10) {
    target[i * 2] = static_cast<std::byte>('0' + number % 10);
  }
}

template <typename T>
void Put(std::byte* target, const T& value) {
  std::memcpy(target, &value, sizeof(T));
}

StreamHeader DataHeader(const PayloadForm& form, std::uint32_t length,
                        StreamType type = StreamType::kStandard) {
  StreamHeader header = MakeStreamHeader(type, length);
  if (form.plain()) {
    return header;
  }
  header.format_attributes = static_cast<std::uint16_t>(
      (form.compressed() ? kStreamCompressed : 0) | (form.encrypted() ? kStreamEncrypted : 0));
  header.compression_algorithm = form.codec_algorithm();
  header.encryption_algorithm = form.cipher_algorithm();
  header.checksum = HeaderChecksum(header);
  return header;
}

// Who extracts the medium puts the files together by their names: what is void must not be among
// those of frames, nor in the place of one.
void MarkName(std::span<std::byte> head, const FileBlock& block) {
  const std::size_t end = std::size_t{block.name.offset} + block.name.size;
  constexpr std::size_t kNumberSize = (kNumberDigits + 1) * sizeof(char16_t);
  if (block.name.offset >= kNameOffset && block.name.size > kNumberSize &&
      end <= block.header.first_event_offset) {
    Put(head.data() + end - kNumberSize, u'v');
  }
}

// Whether a frame's lengths can be those of its form. With a codec the data may be shorter; how
// long that of a void frame was before, nobody knows.
bool LengthsArePossible(const FrameStream& stream, const PayloadForm& form) {
  const std::uint32_t around = form.lead() + form.tail();
  const std::uint32_t stored = stream.payload_length;
  const std::uint32_t original = stream.original_length;
  if (stored <= around || stored - around > kTransferSizeMax || original > kTransferSizeMax) {
    return false;
  }
  if (original == 0) {
    return true;
  }
  return form.compressed() ? stored - around <= original : stored - around == original;
}

}  // namespace

std::uint32_t FrameGeometry::FrameSize(std::uint32_t stored_size) const {
  if (packing == 0) {
    return transfer_size;
  }
  const std::size_t pad = RoundUp(std::size_t{payload_offset} + stored_size, 4);
  return static_cast<std::uint32_t>(RoundUp(pad + sizeof(StreamHeader), packing));
}

Result<FrameComposer> FrameComposer::Create(const BackupSet& set, std::uint32_t packing) {
  const std::optional<PayloadForm> form = PayloadFormOf(set);
  if (!form) {
    return Error(Code::kInvalidArgument, "unable to compose frames with codec '{}' and cipher '{}'",
                 set.compression_algorithm, set.encryption.key_algorithm);
  }
  FrameComposer composer;
  composer.form_ = *form;
  composer.leaf_names_ = FrameLeafNames(set);
  composer.backup_set_guid_ = set.backup_set_guid;
  composer.date_ = PackDate(set.start_unix_s, set.time_zone_quarter_hours);
  std::size_t longest = 0;
  for (const std::u16string& name : composer.leaf_names_) {
    longest = std::max(longest, name.size());
  }
  composer.stream_offset_ = RoundUp(kNameOffset + NameSize(longest), 4);
  const std::size_t stan_offset =
      RoundUp(composer.stream_offset_ + sizeof(StreamHeader) + sizeof(FrameStream), 4);
  const std::size_t payload_offset = stan_offset + sizeof(StreamHeader);
  if (payload_offset > kFormatLogicalBlock) {
    return SqlError(3244, kFormatLogicalBlock);
  }
  // Behind the payload: up to 3 bytes of alignment and the header of the padding.
  const std::size_t room =
      set.transfer_size - payload_offset - form->lead() - form->tail() - 3 - sizeof(StreamHeader);
  composer.geometry_ = {
      .payload_offset = static_cast<std::uint32_t>(payload_offset),
      .payload_capacity = static_cast<std::uint32_t>(room / kPhysicalBlock * kPhysicalBlock),
      .transfer_size = set.transfer_size,
      .packing = packing};
  return composer;
}

FrameComposer::Template& FrameComposer::TemplateFor(std::uint32_t file_index) {
  Template& slot = templates_[file_index % templates_.size()];
  if (slot.file_index == file_index) {
    return slot;
  }
  CAPSTAN_CHECK(file_index < leaf_names_.size());
  const std::u16string& leaf = leaf_names_[file_index];
  slot.file_index = file_index;
  slot.bytes.fill(std::byte{0});
  slot.block = FileBlock{.modified = date_,
                         .created = date_,
                         .backed_up = date_,
                         .accessed = date_,
                         .directory_id = 2,
                         .name = {.size = static_cast<std::uint16_t>(NameSize(leaf.size())),
                                  .offset = static_cast<std::uint16_t>(kNameOffset)}};
  slot.block.header.attributes = form_.compressed() ? kSetIsCompressed : 0;
  slot.block.header.first_event_offset = static_cast<std::uint16_t>(stream_offset_);
  slot.block.header.string_type = kStringUtf16;
  slot.block.header.os_data = {.size = sizeof(FileOsData), .offset = sizeof(FileBlock)};
  Put(slot.bytes.data() + sizeof(FileBlock), FileOsData{});
  std::byte* name = slot.bytes.data() + kNameOffset;
  std::memcpy(name, leaf.data(), leaf.size() * sizeof(char16_t));
  Put(name + leaf.size() * sizeof(char16_t), u'.');
  slot.number_offset = kNameOffset + (leaf.size() + 1) * sizeof(char16_t);
  Put(slot.bytes.data() + stream_offset_,
      MakeStreamHeader(StreamType::kFrame, sizeof(FrameStream)));
  slot.stream = FrameStream{.codec = static_cast<std::uint8_t>(form_.codec),
                            .cipher = static_cast<std::uint8_t>(form_.cipher),
                            .file_index = file_index,
                            .backup_set_guid = backup_set_guid_.bytes};
  slot.stream.seal.covered = stream_offset_ + sizeof(StreamHeader) + offsetof(FrameStream, seal) +
                             offsetof(StreamSeal, crc32c);
  return slot;
}

void FrameComposer::Seal(std::span<std::byte> buffer, const FrameExtent& extent,
                         const FramePlace& place) {
  const std::uint32_t stored = extent.stored_size();
  CAPSTAN_CHECK(buffer.size() == geometry_.FrameSize(stored));
  CAPSTAN_CHECK(stored <= extent.length + form_.lead() + form_.tail());
  CAPSTAN_CHECK(extent.length > 0 && extent.length <= geometry_.payload_capacity);
  CAPSTAN_CHECK(extent.sequence <= kSequenceMax);
  Template& slot = TemplateFor(extent.file_index);

  slot.block.header.displayable_size = extent.length;
  slot.block.header.fla = place.fla;
  slot.block.header.control_block_id = place.control_block_id;
  slot.block.header.checksum = HeaderChecksum(slot.block.header);
  slot.block.file_id = place.file_id;
  Put(slot.bytes.data(), slot.block);
  WriteDigits(slot.bytes.data() + slot.number_offset, extent.file_offset / kNumberUnit);

  slot.stream.sequence = extent.sequence;
  slot.stream.file_offset = extent.file_offset;
  slot.stream.payload_length = stored;
  slot.stream.original_length = extent.length;
  slot.stream.payload_crc32c = extent.crc32c;
  std::byte* stream = slot.bytes.data() + stream_offset_ + sizeof(StreamHeader);
  Put(stream, slot.stream);
  const std::uint32_t crc = Crc32c(0, Bytes(slot.bytes).first(slot.stream.seal.covered));
  Put(slot.bytes.data() + slot.stream.seal.covered, crc);
  Put(slot.bytes.data() + geometry_.payload_offset - sizeof(StreamHeader),
      DataHeader(form_, stored));
  std::memcpy(buffer.data(), slot.bytes.data(), geometry_.payload_offset);

  const std::size_t payload_end = geometry_.payload_offset + stored;
  const std::size_t pad = RoundUp(payload_end, 4);
  std::memset(buffer.data() + payload_end, 0, buffer.size() - payload_end);
  Put(buffer.data() + pad,
      MakeStreamHeader(StreamType::kPad, buffer.size() - pad - sizeof(StreamHeader)));
}

std::optional<Damage> ParseFrameHead(Bytes head, ParsedFrame* parsed, FrameStream* stream) {
  if (head.size() < sizeof(FileBlock)) {
    return Damage{0, "file block"};
  }
  const auto block = LoadStruct<FileBlock>(head);
  if (!HeaderIsSound(block.header) || block.header.type != BlockType::kFile) {
    return Damage{0, "file block header"};
  }
  const std::size_t limit = std::min<std::size_t>(head.size(), kFormatLogicalBlock);
  const std::size_t stream_offset = block.header.first_event_offset;
  const std::size_t content = stream_offset + sizeof(StreamHeader);
  const std::size_t stan = RoundUp(content + sizeof(FrameStream), 4);
  if (stream_offset < sizeof(FileBlock) || stream_offset % 4 != 0 ||
      stan + sizeof(StreamHeader) > limit) {
    return Damage{0, "file block size"};
  }
  const auto stream_header = LoadStruct<StreamHeader>(head.subspan(stream_offset));
  if (!HeaderIsSound(stream_header) || stream_header.type != StreamType::kFrame) {
    return Damage{stream_offset, "frame header's stream header"};
  }
  // A version is one only behind a seal, which all versions have: this may be what is left of a
  // write.
  if (stream_header.length > limit - content ||
      !SealIsRight(head.first(content + static_cast<std::size_t>(stream_header.length)))) {
    return Damage{0, "file block or frame header"};
  }
  *stream = LoadStruct<FrameStream>(head.subspan(content));
  const bool is_void = stream->version == kVoidFrameVersion;
  if ((stream->version != kStreamVersion && !is_void) ||
      stream_header.length != sizeof(FrameStream)) {
    return Damage{content, "frame header version", true};
  }
  if (stream->codec > static_cast<std::uint8_t>(CodecId::kLz4) ||
      stream->cipher > static_cast<std::uint8_t>(CipherId::kAes256Gcm)) {
    return Damage{content, "frame codec", true};
  }
  const PayloadForm form{.codec = static_cast<CodecId>(stream->codec),
                         .cipher = static_cast<CipherId>(stream->cipher)};
  const StreamHeader data_header =
      DataHeader(form, stream->payload_length, is_void ? StreamType::kVoid : StreamType::kStandard);
  if (std::memcmp(head.data() + stan, &data_header, sizeof(data_header)) != 0 ||
      !AllZero(head.subspan(content + sizeof(FrameStream), stan - content - sizeof(FrameStream)))) {
    return Damage{stan, "data stream header"};
  }
  if (is_void != (stream->original_length == 0) || !LengthsArePossible(*stream, form)) {
    return Damage{content, "payload length"};
  }
  parsed->form = form;
  parsed->extent = {.file_index = stream->file_index,
                    .file_offset = stream->file_offset,
                    .length = stream->original_length,
                    .sequence = stream->sequence,
                    .crc32c = stream->payload_crc32c,
                    .stored_length = form.plain() && !is_void ? 0 : stream->payload_length};
  parsed->payload_offset = stan + sizeof(StreamHeader);
  return std::nullopt;
}

std::uint32_t PackedFrameSize(Bytes head, std::uint32_t packing, std::uint32_t transfer_size) {
  ParsedFrame parsed;
  FrameStream stream;
  if (ParseFrameHead(head, &parsed, &stream)) {
    return 0;
  }
  const FrameGeometry geometry{.payload_offset = static_cast<std::uint32_t>(parsed.payload_offset),
                               .transfer_size = transfer_size,
                               .packing = packing};
  const std::uint32_t size = geometry.FrameSize(stream.payload_length);
  return size <= transfer_size ? size : 0;
}

std::optional<Damage> ParseFrame(Bytes frame, const FrameExpectation& expected,
                                 ParsedFrame* parsed) {
  FrameStream stream;
  if (std::optional<Damage> damage = ParseFrameHead(frame, parsed, &stream)) {
    return damage;
  }
  const auto header = LoadStruct<BlockHeader>(frame);
  const std::uint32_t length = parsed->extent.length;
  if (stream.backup_set_guid != expected.backup_set_guid.bytes || header.fla != expected.fla ||
      header.control_block_id != expected.control_block_id || parsed->form != expected.form) {
    return Damage{0, "frame of another place or backup set"};
  }
  if (parsed->extent.file_index >= expected.file_count || parsed->extent.sequence > kSequenceMax ||
      parsed->extent.file_offset + length < length || header.displayable_size != length ||
      header.attributes != (expected.form.compressed() ? kSetIsCompressed : 0)) {
    return Damage{0, "frame extent"};
  }
  const std::size_t payload_end = parsed->payload_offset + stream.payload_length;
  const std::size_t pad = RoundUp(payload_end, 4);
  if (pad + sizeof(StreamHeader) > frame.size()) {
    return Damage{parsed->payload_offset, "payload length"};
  }
  const auto pad_header = LoadStruct<StreamHeader>(frame.subspan(pad));
  const std::size_t zeros = pad + sizeof(StreamHeader);
  if (!HeaderIsSound(pad_header) || pad_header.type != StreamType::kPad ||
      pad_header.length != frame.size() - zeros) {
    return Damage{pad, "padding header"};
  }
  if (!AllZero(frame.subspan(payload_end, pad - payload_end)) || !AllZero(frame.subspan(zeros))) {
    return Damage{payload_end, "padding"};
  }
  return std::nullopt;
}

void MakeVoid(std::span<std::byte> head) {
  ParsedFrame parsed;
  FrameStream stream;
  CAPSTAN_CHECK(head.size() >= kPhysicalBlock && !ParseFrameHead(head, &parsed, &stream));
  auto block = LoadStruct<FileBlock>(head);
  block.header.displayable_size = 0;
  block.header.checksum = HeaderChecksum(block.header);
  Put(head.data(), block);
  MarkName(head, block);

  stream.version = kVoidFrameVersion;
  stream.original_length = 0;
  const std::size_t content = block.header.first_event_offset + sizeof(StreamHeader);
  Put(head.data() + content, stream);
  Put(head.data() + stream.seal.covered, Crc32c(0, Bytes(head).first(stream.seal.covered)));
  Put(head.data() + parsed.payload_offset - sizeof(StreamHeader),
      DataHeader(parsed.form, stream.payload_length, StreamType::kVoid));
}

IndexRecord::IndexRecord(const FrameExtent& extent, std::uint32_t frame_size)
    : packed_{.entry = {.file_offset = extent.file_offset,
                        .sequence_and_length = extent.sequence << 24 | extent.stored_size(),
                        .file_index = extent.file_index | (extent.is_void() ? kVoidEntry : 0),
                        .crc32c = extent.crc32c},
              .original_length = extent.length,
              .frame_size = frame_size} {}

FrameExtent ExtentOf(Bytes record, std::uint32_t around) {
  const auto entry = LoadStruct<IndexEntry>(record);
  const auto stored = static_cast<std::uint32_t>(entry.sequence_and_length & 0xFFFFFF);
  std::uint32_t length = stored - std::min(around, stored);
  const bool packed = record.size() == sizeof(PackedIndexEntry);
  if (packed) {
    length = LoadStruct<PackedIndexEntry>(record).original_length;
  }
  const bool is_void = (entry.file_index & kVoidEntry) != 0;
  if (is_void) {
    length = 0;
  }
  return {.file_index = entry.file_index & ~kVoidEntry,
          .file_offset = entry.file_offset,
          .length = length,
          .sequence = entry.sequence_and_length >> 24,
          .crc32c = entry.crc32c,
          .stored_length = packed || around != 0 || is_void ? stored : 0};
}

}  // namespace capstan::media
