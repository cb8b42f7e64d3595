#include "tests/support/sqlserver_media.h"

#include <algorithm>
#include <cstring>

#include "server/media/block_composer.h"
#include "server/media/sqlserver/container.h"
#include "server/media/sqlserver/page_data.h"
#include "server/media/sqlserver/sqlserver_layout.h"
#include "tests/support/xpress_encoder.h"

namespace capstan::test {
namespace {

using namespace media;             // NOLINT(google-build-using-namespace): what is composed here
using namespace media::sqlserver;  // NOLINT(google-build-using-namespace): likewise

constexpr std::uint32_t kFlb = 1024;
constexpr std::size_t kRecordPlain = 65536;
constexpr std::int64_t kDate = 1'479'900'000;
constexpr std::uint32_t kFamilyId = 0x12345678;

// Guids of another media set differ in the first byte.
GuidBytes GuidOf(std::uint8_t fill, std::uint8_t media_set = 0) {
  GuidBytes guid;
  guid.fill(fill);
  guid[0] = static_cast<std::uint8_t>(fill + media_set);
  return guid;
}

// A record of a configuration; strings follow its fixed part.
class RecordBuilder {
 public:
  explicit RecordBuilder(std::size_t fixed_size) : bytes_(fixed_size) {}
  TapeAddress Add(std::string_view text) {
    const std::u16string wide = ToUtf16(text);
    const TapeAddress address{static_cast<std::uint16_t>(wide.size() * 2),
                              static_cast<std::uint16_t>(bytes_.size())};
    AppendBytes(&bytes_, std::as_bytes(std::span(wide)));
    return address;
  }
  // Its length has 32 bits in a head of its own, or 16.
  template <typename T>
  ByteVector Finish(T fixed) {
    if constexpr (requires { fixed.head; }) {
      fixed.head.length = static_cast<std::uint32_t>(bytes_.size());
    } else {
      fixed.length = static_cast<std::uint16_t>(bytes_.size());
    }
    std::memcpy(bytes_.data(), &fixed, sizeof(fixed));
    return std::move(bytes_);
  }

 private:
  ByteVector bytes_;
};

class Composer {
 public:
  explicit Composer(const SqlServerMediumOptions& options) : options_(options) {}

  SparseMedium Finish() {
    Tape();
    Flush();
    Filler();
    Filemark(0);
    for (position_ = 1; position_ <= options_.sets; ++position_) {
      Body();
      Flush();
      if (options_.compressed) Index();
      Filemark(options_.compressed ? kCompressedMark : 0);
      Trailer();
      Flush();
      Filler();
      Filemark(0);
    }
    return std::move(out_);
  }

 private:
  static constexpr std::uint32_t kCompressedMark = 1U << 18;

  bool old() const { return options_.major < 10; }
  std::uint32_t flags() const {
    return 512U | (options_.checksums ? kFlagChecksums : 0) | (options_.type == 'I' ? 2048U : 0);
  }
  // In the file, of what is composed next.
  std::uint64_t place() const {
    const std::uint64_t gap = gap_passed_ ? options_.gap_bytes : 0;
    return out_.bytes.size() + gap + (options_.compressed ? 0 : piece_.size());
  }
  // In the piece between two filemarks, and thus of the block grid.
  std::uint64_t inside() const { return piece_.size() + (gap_in_piece_ ? options_.gap_bytes : 0); }

  template <typename Block>
  void Add(Block block, const VariablePart& variable, bool in_set = true) {
    block.header.string_type = kStringUtf16;
    if (in_set) {
      block.header.fla = inside() / kFlb;
      block.header.control_block_id = next_id_++;
    }
    AppendBlock(&piece_, block, variable);
  }
  struct Plain {
    BlockHeader header;
  };
  void AddPlain(BlockType type, std::size_t size) {
    VariablePart rest(sizeof(Plain));
    rest.AddBytes(ByteVector(size - sizeof(Plain)));
    Add(Plain{{.type = type}}, rest);
  }
  void Stream(StreamType type, std::uint16_t attributes, Bytes data) {
    StreamHead(type, attributes, data.size());
    AppendBytes(&piece_, data);
  }
  void StreamHead(StreamType type, std::uint16_t attributes, std::uint64_t length) {
    piece_.resize(RoundUp(piece_.size(), 4));
    StreamHeader header{.type = type, .format_attributes = attributes, .length = length};
    header.checksum = HeaderChecksum(header);
    AppendBytes(&piece_, AsBytes(header));
  }
  // To a multiple of `unit`, with a whole block where the header would not fit.
  void Pad(std::uint64_t unit = kFlb) {
    piece_.resize(RoundUp(piece_.size(), 4));
    std::uint64_t end = RoundUp(inside() + sizeof(StreamHeader), unit);
    const ByteVector zeros(end - inside() - sizeof(StreamHeader));
    Stream(StreamType::kPad, 0, zeros);
  }
  std::uint64_t physical() const { return std::max(kFlb, options_.mark_size); }

  void Tape();
  void Body();
  void PageData();
  void LogData();
  void Trailer();
  ByteVector Configuration(bool is_end);
  ByteVector FileRecordOf(std::uint32_t file_id, bool is_log, bool is_end);
  void Filemark(std::uint32_t extra_attributes);
  // What was composed since the last filemark goes out, in a container as records.
  void Flush();
  void FlushRecords();
  void Filler();
  void Record(Bytes plain);
  void Index();

  const SqlServerMediumOptions& options_;
  SparseMedium out_;
  ByteVector piece_;
  std::uint64_t base_ = 0;  // of the piece in the medium as it would be uncompressed
  std::vector<std::uint64_t> marks_;
  std::vector<ContainerIndexEntry> index_;
  std::uint32_t position_ = 0;
  std::uint32_t next_id_ = 0;
  bool gap_passed_ = false;
  bool gap_in_piece_ = false;
  std::size_t gap_at_ = 0;  // in the piece
  std::uint64_t set_place_ = 0;
  std::uint64_t backup_size_ = 0;
};

void Composer::Tape() {
  VariablePart strings(sizeof(TapeBlock));
  TapeBlock tape{.media_family_id = kFamilyId + options_.family_number,
                 .attributes = 5,
                 .media_sequence_number = 1,
                 .soft_filemark_units = static_cast<std::uint16_t>(options_.mark_size / 512),
                 .catalog_type = 3,
                 .format_logical_block = kFlb,
                 .software_vendor_id = kSqlServerVendorId,
                 .date = PackDate(kDate, 0),
                 .mtf_major = 1};
  tape.header.attributes = 0x30000;
  tape.name = strings.AddString(options_.media_name);
  if (!options_.media_password_md5.empty()) {
    tape.password_algorithm = 5;
    tape.password = strings.AddBytes(std::as_bytes(std::span(options_.media_password_md5)));
  }
  tape.software_name = strings.AddString("Microsoft SQL Server");
  Add(tape, strings, false);
  const RaidStream raid{.media_set_id = GuidOf(0xA1, options_.media_set),
                        .family_count = options_.family_count,
                        .mirror_count = 1,
                        .family_number = options_.family_number,
                        .unknown = {0, 0, 1}};
  Stream(kRaid, 0, AsBytes(raid));
  Pad(options_.compressed ? kFlb : physical());
}

ByteVector Composer::FileRecordOf(std::uint32_t file_id, bool is_log, bool is_end) {
  RecordBuilder builder(old() ? 400 : options_.major < 11 ? 1024 : 1028);
  FileRecord file;
  file.flags = 4;
  file.page_size = kPageSize;
  file.file_id = file_id;
  file.pages = is_log || !is_end || options_.type == 'L' ? 0 : options_.extents * kPagesPerExtent;
  file.type = is_log ? kFileLog : kFileData;
  file.source_block_size = 512;
  file.filegroup_id = is_log ? 0 : 1;
  file.size = 64U << 20;
  const std::string name = (is_log ? "sales_log" : "sales") + std::to_string(file_id);
  file.logical_name = builder.Add(name);
  file.physical_name = builder.Add("C:\\data\\" + name + (is_log ? ".ldf" : ".mdf"));
  file.max_size = is_log ? 0x20000000000 : 0x1FFFFFFFE000;
  file.unique_id = GuidOf(static_cast<std::uint8_t>(0xC0 + file_id % 16));
  file.create_lsn = {
      .vlf = 20, .block = 7, .slot = file_id > 2 ? std::uint16_t{1} : std::uint16_t{0}};
  file.backup_size = std::uint64_t{file.pages} * kPageSize;
  return builder.Finish(file);
}

ByteVector Composer::Configuration(bool is_end) {
  RecordBuilder builder(old() ? 344 : options_.major < 11 ? 364 : 400);
  SetRecord set;
  set.flags = flags();
  set.data_files = 1 + options_.extra_files;
  set.build = 4001;
  set.major = static_cast<std::uint8_t>(options_.major);
  set.minor = static_cast<std::uint8_t>(options_.minor);
  set.first_lsn = {.vlf = 37, .block = 430, .slot = 37};
  set.last_lsn = {.vlf = 37, .block = 512, .slot = 1};
  set.checkpoint_lsn = set.first_lsn;
  set.database_backup_lsn = {.vlf = 36, .block = 16, .slot = 1};
  set.database_created = PackDate(kDate - 86400, 0);
  set.start = PackDate(kDate, 0);
  set.finish = is_end ? PackDate(kDate + 2, 0) : MtfDate();
  set.type = options_.type;
  set.sort_order = 52;
  set.compatibility_level = static_cast<std::uint8_t>(options_.major * 10);
  set.database_version = 852;
  set.backup_size = is_end ? backup_size_ : 0;
  set.database_name = builder.Add("sales");
  set.server_name = builder.Add("DBSERVER\\SQL");
  set.unicode_locale_id = 1033;
  set.unicode_comparison_style = 196609;
  set.binding_id = GuidOf(0xB1);
  set.recovery_fork_id = GuidOf(0xB2);
  set.family_guid = GuidOf(0xB2);
  set.collation = 0x00D00409;
  set.collation_sort_id = 52;
  set.status = options_.type == 'L' ? 0 : kStatusSimple;
  set.log_chain_start = set.first_lsn;
  set.differential_base_lsn = {.vlf = 36, .block = 16, .slot = 1};
  set.differential_base_guid = GuidOf(0xB3);
  ByteVector config = builder.Finish(set);
  if (!old()) {
    const SetRecordSizes sizes{.compressed_backup_size =
                                   options_.compressed ? 123'456 : set.backup_size};
    std::memcpy(config.data() + sizeof(SetRecord), &sizes, sizeof(sizes));
  }
  RecordBuilder group_builder(options_.major < 11 ? 48 : 224);
  FilegroupRecord group{.flags = 0x10, .filegroup_id = 1};
  group.name = group_builder.Add("PRIMARY");
  AppendBytes(&config, group_builder.Finish(group));
  AppendBytes(&config, FileRecordOf(1, false, is_end));
  AppendBytes(&config, FileRecordOf(2, true, is_end));
  for (std::uint32_t i = 0; i < options_.extra_files; ++i) {
    AppendBytes(&config, FileRecordOf(3 + i, false, is_end));
  }
  return config;
}

void Composer::Body() {
  next_id_ = 0;
  set_place_ = options_.compressed ? out_.bytes.size() : place();
  VariablePart strings(sizeof(SetBlock));
  SetBlock set{.attributes = options_.type == 'I' ? kSetDifferential : kSetNormal,
               .software_vendor_id = kSqlServerVendorId,
               .set_number = static_cast<std::uint16_t>(position_),
               .pba = set_place_,
               .date = PackDate(kDate, 0),
               .software_major = static_cast<std::uint8_t>(options_.major),
               .software_minor = static_cast<std::uint8_t>(options_.minor),
               .time_zone = 0,
               .catalog_version = 2};
  set.name = strings.AddUtf16(ToUtf16("sales-full"));
  set.user_name = strings.AddUtf16(ToUtf16("CONTOSO\\backup"));
  const SetOsData os_data{
      .backup_set_guid =
          GuidOf(static_cast<std::uint8_t>(0xD0 + position_ % 16), options_.media_set)};
  set.header.os_data = strings.AddBytes(AsBytes(os_data).first(kSetOsDataSize));
  Add(set, strings);
  Pad();
  VariablePart volume_strings(sizeof(VolumeBlock));
  VolumeBlock volume{.attributes = 2, .date = PackDate(kDate, 0)};
  volume.device_name = volume_strings.AddUtf16(ToUtf16("C:"));
  volume.machine_name = volume_strings.AddUtf16(ToUtf16("DBSERVER"));
  Add(volume, volume_strings);
  Pad();
  AddPlain(kConfigurationStart, 56);
  Stream(kConfiguration, 0, Configuration(false));
  Pad();
  if (options_.type != 'L') PageData();
  LogData();
  out_.data_size = base_ + inside();
  backup_size_ = options_.expected_size != 0 ? options_.expected_size
                                             : out_.data_size - (old() ? 0 : options_.mark_size);
  AddPlain(kConfigurationEnd, 56);
  Stream(kConfiguration, 0, Configuration(true));
  Pad(options_.compressed ? kFlb : physical());
}

void Composer::PageData() {
  AddPlain(kPageData, 60);
  // The data stand on a physical boundary behind their two lead bytes.
  std::uint64_t data = RoundUp(inside() + 2 * sizeof(StreamHeader) + 4, physical());
  Stream(kAlign, 0x80, ByteVector(data - 24 - inside() - sizeof(StreamHeader)));
  ByteVector pages(kLeadBytes);
  for (std::uint32_t file = 0; file <= options_.extra_files; ++file) {
    const std::uint32_t file_id = file == 0 ? 1 : 2 + file;
    for (std::uint32_t page = 0; page < options_.extents * kPagesPerExtent; ++page) {
      ByteVector bytes(kPageSize);
      const PageHead head{
          .version = 1, .page_id = page, .file_id = static_cast<std::uint16_t>(file_id)};
      std::memcpy(bytes.data(), &head, sizeof(head));
      for (std::size_t at = 96; at < bytes.size(); at += 7) {
        bytes[at] = static_cast<std::byte>(at * page + file_id);
      }
      AppendBytes(&pages, bytes);
    }
  }
  const std::uint16_t sum_flag = options_.checksums ? kHasChecksum : 0;
  const bool gap_here = options_.gap_bytes != 0 && position_ == options_.sets;
  StreamHead(kPages, kStreamVariable | sum_flag,
             pages.size() + (gap_here ? options_.gap_bytes : 0));
  AppendBytes(&piece_, pages);
  if (gap_here) {
    gap_at_ = piece_.size();
    gap_in_piece_ = true;
  }
  if (options_.checksums) {
    SectorSum sum;
    sum.Add(Bytes(pages).subspan(kLeadBytes));
    const std::uint32_t value = sum.Finish();
    Stream(kChecksum, 0, AsBytes(value));
  }
  Stream(kPages, kStreamVariable | kStreamVariableEnd, {});
  Pad();
}

void Composer::LogData() {
  AddPlain(kLogFile, old() ? 128 : options_.major < 11 ? 592 : 596);
  ByteVector log(kLeadBytes + 65536);
  for (std::size_t at = kLeadBytes; at < log.size(); at += 512) {
    log[at] = std::byte{0x50};
    log[at + 1] = static_cast<std::byte>(at / 512);
  }
  Stream(kLog, options_.checksums ? kHasChecksum : 0, log);
  if (options_.checksums) {
    SectorSum sum;
    sum.Add(Bytes(log).subspan(kLeadBytes));
    const std::uint32_t value = sum.Finish();
    Stream(kChecksum, 0, AsBytes(value));
  }
  Pad();
}

void Composer::Trailer() {
  EndOfSetBlock end{.attributes = options_.type == 'I' ? kSetDifferential : kSetNormal,
                    .set_number = static_cast<std::uint16_t>(position_),
                    .date = PackDate(kDate, 0)};
  const std::uint64_t first_place = place();
  Add(end, VariablePart(sizeof(end)), false);
  ByteVector map;
  const SetMapHeader head{.media_family_id = kFamilyId + options_.family_number,
                          .set_count = static_cast<std::uint16_t>(position_)};
  AppendBytes(&map, AsBytes(head));
  for (std::uint32_t i = 1; i <= position_; ++i) {
    RecordBuilder strings(sizeof(SetMapEntry));
    SetMapEntry entry{.media_sequence_number = 1,
                      .set_attributes = end.attributes,
                      .set_pba = set_place_,
                      .set_number = static_cast<std::uint16_t>(i),
                      .displayable_size = options_.compressed ? 123'456 : backup_size_,
                      .volume_count = 1,
                      .date = PackDate(kDate, 0),
                      .time_zone = 0,
                      .catalog_version = 2};
    entry.name = strings.Add("sales-full");
    entry.user_name = strings.Add("CONTOSO\\backup");
    AppendBytes(&map, strings.Finish(entry));
    RecordBuilder volume_strings(sizeof(SetMapVolume));
    SetMapVolume volume{.attributes = 2, .date = PackDate(kDate, 0)};
    volume.device_name = volume_strings.Add("C:");
    volume.machine_name = volume_strings.Add("DBSERVER");
    AppendBytes(&map, volume_strings.Finish(volume));
  }
  const std::uint64_t align = inside() + sizeof(StreamHeader);
  Stream(kTrailerAlign, 0, ByteVector(RoundUp(align, physical()) - align));
  Stream(StreamType::kSetMap, 0, map);
  Pad(physical());
  end.first_pba = first_place;
  Add(end, VariablePart(sizeof(end)), false);
  Pad(options_.compressed ? kFlb : physical());
}

void Composer::Filemark(std::uint32_t extra_attributes) {
  const std::uint64_t own = out_.bytes.size() + (gap_passed_ ? options_.gap_bytes : 0);
  ByteVector mark(options_.mark_size);
  BlockHeader header{.type = BlockType::kSoftFilemark,
                     .attributes = (old() ? 0 : kFilemarkSqlLayout) | extra_attributes,
                     .first_event_offset = static_cast<std::uint16_t>(options_.mark_size)};
  header.checksum = HeaderChecksum(header);
  const std::size_t array = old() ? sizeof(SoftFilemarkHeader) : sizeof(FilemarkHeader);
  const auto capacity = static_cast<std::uint32_t>((mark.size() - array) / 8);
  const auto used = static_cast<std::uint32_t>(std::min<std::size_t>(marks_.size(), capacity));
  const FilemarkHeader fields{.common = {header, capacity, used}, .array_offset = old() ? 0 : 72U};
  std::memcpy(mark.data(), &fields, std::min(array, sizeof(fields)));
  for (std::uint32_t i = 0; i < used; ++i) {
    const std::uint64_t offset = marks_[marks_.size() - 1 - i];
    std::memcpy(mark.data() + array + i * sizeof(offset), &offset, sizeof(offset));
  }
  AppendBytes(&out_.bytes, mark);
  marks_.push_back(own);
  base_ += options_.mark_size;
}

void Composer::Flush() {
  base_ += inside();
  if (options_.compressed) {
    FlushRecords();
  } else {
    if (gap_in_piece_) out_.gap_offset = out_.bytes.size() + gap_at_;
    AppendBytes(&out_.bytes, piece_);
  }
  out_.gap_bytes = gap_in_piece_ ? options_.gap_bytes : out_.gap_bytes;
  gap_passed_ = gap_passed_ || gap_in_piece_;
  gap_in_piece_ = false;
  piece_.clear();
}

void Composer::FlushRecords() {
  index_.clear();
  if (out_.bytes.empty()) {
    const std::uint32_t head[4] = {0, 0, 2, 3};
    AppendBytes(&out_.bytes, std::as_bytes(std::span(head)));
    std::memcpy(out_.bytes.data(), kContainerMagic, 8);
    out_.bytes.resize(kFirstRecord);
  }
  // A record begins behind the gap.
  const std::size_t behind_gap = gap_in_piece_ ? gap_at_ / 512 * 512 : piece_.size();
  std::uint64_t gap = gap_passed_ ? options_.gap_bytes : 0;
  for (std::size_t at = 0; at < piece_.size();) {
    if (at == behind_gap) {
      out_.gap_offset = out_.bytes.size();
      gap = options_.gap_bytes;
    }
    const std::size_t limit = at < behind_gap ? behind_gap : piece_.size();
    const std::size_t size = std::min(kRecordPlain, limit - at);
    index_.push_back({.set_offset = at + gap, .file_offset = out_.bytes.size() + gap});
    Record(Bytes(piece_).subspan(at, size));
    at += size;
  }
}

// Leads up to a filemark, behind TAPE and behind the end of a set.
void Composer::Filler() {
  if (!options_.compressed) return;
  const std::uint64_t end =
      RoundUp(out_.bytes.size() + sizeof(ContainerRecord), options_.mark_size);
  const ContainerRecord filler{
      .type = RecordType::kFiller,
      .size = static_cast<std::uint16_t>(end - out_.bytes.size() - sizeof(ContainerRecord))};
  AppendBytes(&out_.bytes, AsBytes(filler));
  out_.bytes.resize(end);
}

void Composer::Record(Bytes plain) {
  const std::vector<std::byte> packed = CompressXpressHuffman(plain);
  const ContainerRecord record{.type = RecordType::kCompressed,
                               .units = static_cast<std::uint8_t>(plain.size() / 512),
                               .size = static_cast<std::uint16_t>(packed.size())};
  const std::uint32_t sum = RecordChecksum(packed);
  AppendBytes(&out_.bytes, AsBytes(record));
  AppendBytes(&out_.bytes, AsBytes(sum));
  AppendBytes(&out_.bytes, packed);
}

void Composer::Index() {
  const std::size_t size_min = 2 * sizeof(ContainerIndexHead) +
                               index_.size() * sizeof(ContainerIndexEntry) +
                               sizeof(ContainerRecord);
  const std::uint64_t end = RoundUp(out_.bytes.size() + size_min, options_.mark_size);
  const std::uint64_t size = end - out_.bytes.size() - sizeof(ContainerRecord);
  const ContainerRecord record{.type = RecordType::kIndex};
  const ContainerIndexHead head{.count = static_cast<std::uint32_t>(index_.size()),
                                .size = static_cast<std::uint32_t>(size)};
  AppendBytes(&out_.bytes, AsBytes(record));
  AppendBytes(&out_.bytes, AsBytes(head));
  for (const ContainerIndexEntry& entry : index_) AppendBytes(&out_.bytes, AsBytes(entry));
  out_.bytes.resize(end - sizeof(head));
  AppendBytes(&out_.bytes, AsBytes(head));
}

}  // namespace

SparseMedium MakeSqlServerMedium(const SqlServerMediumOptions& options) {
  return Composer(options).Finish();
}

}  // namespace capstan::test
