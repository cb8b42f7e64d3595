// The bytes that SQL Server adds to Microsoft Tape Format, as far as they are known: from media of
// versions 9.0 to 17.0, for nothing of it is documented. Structures are packed, numbers little
// endian; fields whose meaning is not known are called `unknown`. Nothing that runs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "server/media/mtf_layout.h"

namespace capstan::media::sqlserver {

// Blocks.
inline constexpr auto kConfigurationStart = static_cast<BlockType>(FourCc("MSCI"));
inline constexpr auto kPageData = static_cast<BlockType>(FourCc("MSDA"));
inline constexpr auto kLogFile = static_cast<BlockType>(FourCc("MSTL"));
inline constexpr auto kConfigurationEnd = static_cast<BlockType>(FourCc("MSLS"));

// Streams.
inline constexpr auto kRaid = static_cast<StreamType>(FourCc("RAID"));
inline constexpr auto kConfiguration = static_cast<StreamType>(FourCc("MQCI"));
inline constexpr auto kPages = static_cast<StreamType>(FourCc("MQDA"));
inline constexpr auto kLog = static_cast<StreamType>(FourCc("MQTL"));
inline constexpr auto kAlign = static_cast<StreamType>(FourCc("APAD"));
inline constexpr auto kTrailerAlign = static_cast<StreamType>(FourCc("OTCP"));
inline constexpr auto kChecksum = static_cast<StreamType>(FourCc("CSUM"));

inline constexpr std::uint16_t kHasChecksum = 1 << 8;  // of a stream's attributes: CSUM follows

// Records of MQCI: tag, then their length, these eight bytes included.
inline constexpr std::uint32_t kSetRecord = FourCc("SCIN");
inline constexpr std::uint32_t kFilegroupRecord = FourCc("SFGI");
inline constexpr std::uint32_t kFileRecord = FourCc("SFIN");

inline constexpr std::size_t kSetOsDataSize = 21;  // of SSET, see SetOsData

inline constexpr std::uint32_t kPageSize = 8192;
inline constexpr std::uint32_t kPagesPerExtent = 8;
inline constexpr std::uint32_t kLeadBytes = 2;  // zeros in front of page and log data
inline constexpr std::uint32_t kSumSector = 512;
// A configuration: 32,767 files with the longest names would take no more.
inline constexpr std::uint64_t kConfigurationMax = 64U << 20;

// HEADERONLY's Flags.
inline constexpr std::uint32_t kFlagBulkLogged = 1;
inline constexpr std::uint32_t kFlagSnapshot = 2;
inline constexpr std::uint32_t kFlagReadOnly = 4;
inline constexpr std::uint32_t kFlagSingleUser = 8;
inline constexpr std::uint32_t kFlagChecksums = 16;
inline constexpr std::uint32_t kFlagDamaged = 32;
inline constexpr std::uint32_t kFlagIncompleteMetadata = 128;
inline constexpr std::uint32_t kFlagForceOffline = 256;
inline constexpr std::uint32_t kFlagCopyOnly = 1024;

#pragma pack(push, 1)

struct RaidStream {
  std::array<std::uint8_t, 16> media_set_id{};
  std::uint32_t magic = 0xF00000AD;
  std::uint16_t family_count = 0;
  std::uint16_t mirror_count = 0;
  std::uint16_t family_number = 0;  // from 1
  std::array<std::uint16_t, 3> unknown{};
};
static_assert(sizeof(RaidStream) == 32);

struct RecordHead {
  std::uint32_t tag = 0;
  std::uint32_t length = 0;
};
static_assert(sizeof(RecordHead) == 8);

struct Lsn {
  std::uint32_t vlf = 0;
  std::uint32_t block = 0;
  std::uint16_t slot = 0;
  friend bool operator==(const Lsn&, const Lsn&) = default;
};
static_assert(sizeof(Lsn) == 10);

using GuidBytes = std::array<std::uint8_t, 16>;

// SCIN as far as all versions have it; 344 bytes in version 9.0.
struct SetRecord {
  RecordHead head{.tag = kSetRecord};
  std::uint32_t flags = 0;
  std::uint32_t data_files = 0;
  std::uint32_t unknown1 = 0;
  std::uint32_t unknown2 = 0;
  std::uint16_t build = 0;
  std::uint8_t minor = 0;
  std::uint8_t major = 0;
  std::uint32_t unknown3 = 0;
  Lsn first_lsn{};
  Lsn last_lsn{};
  Lsn checkpoint_lsn{};
  Lsn database_backup_lsn{};
  MtfDate database_created{};
  MtfDate start{};
  MtfDate finish{};  // zero in MSCI
  char type = 0;     // D, L, I, F, G, P, Q
  std::uint8_t sort_order = 0;
  std::uint16_t unknown4 = 0;
  std::uint8_t compatibility_level = 0;
  std::uint16_t database_id = 0;
  std::uint16_t database_version = 0;
  std::uint64_t backup_size = 0;
  TapeAddress database_name{};
  TapeAddress server_name{};
  TapeAddress unknown5{};
  std::uint32_t unicode_locale_id = 0;
  std::uint32_t unicode_comparison_style = 0;
  GuidBytes binding_id{};
  std::uint32_t unknown6 = 0;
  Lsn last_lsn_again{};
  std::uint16_t unknown7 = 0;
  GuidBytes recovery_fork_id{};
  Lsn fork_point_lsn{};
  std::uint16_t unknown8 = 0;
  GuidBytes first_recovery_fork_id{};  // zero = the same as recovery_fork_id
  GuidBytes last_full_set{};
  std::uint32_t collation = 0;  // as in TDS: LCID and comparison flags
  std::uint8_t collation_sort_id = 0;
  std::array<std::uint8_t, 3> unknown9{};
  GuidBytes family_guid{};
  std::uint32_t transfer_unit = 0;
  std::uint32_t status = 0;
  Lsn log_chain_start{};
  std::uint16_t unknown10 = 0;
  Lsn differential_base_lsn{};
  std::uint16_t unknown11 = 0;
  GuidBytes differential_base_guid{};
  std::array<std::uint8_t, 56> unknown12{};
};
static_assert(sizeof(SetRecord) == 344);
// Behind it since version 10.0; in 9.0 strings are.
inline constexpr std::uint8_t kMajorWithSizes = 10;
struct SetRecordSizes {
  std::uint64_t compressed_backup_size = 0;
};
inline constexpr std::uint32_t kStatusSimple = 8;
inline constexpr std::uint32_t kStatusBulkLogged = 4;

struct FilegroupRecord {
  RecordHead head{.tag = kFilegroupRecord};
  std::uint32_t flags = 0;
  std::uint32_t filegroup_id = 0;
  TapeAddress name{};
};
static_assert(sizeof(FilegroupRecord) == 20);

// SFIN as far as it is known; 400 bytes in version 9.0, more since.
struct FileRecord {
  RecordHead head{.tag = kFileRecord};
  std::uint32_t flags = 0;
  std::uint32_t unknown1 = 0;
  std::uint32_t page_size = 0;
  std::uint32_t file_id = 0;
  std::uint32_t pages = 0;  // in the set; an estimate in MSCI
  std::uint32_t type = 0;   // 1 data, 2 log
  std::uint32_t source_block_size = 0;
  std::uint32_t filegroup_id = 0;
  std::uint64_t size = 0;
  TapeAddress logical_name{};
  TapeAddress physical_name{};
  Lsn read_only_lsn{};
  Lsn read_write_lsn{};
  Lsn unknown2{};
  std::uint64_t max_size = 0;
  std::uint32_t growth = 0;
  std::uint32_t unknown3 = 0;
  Lsn unknown4{};
  std::uint16_t unknown5 = 0;
  std::uint64_t initial_size = 0;
  std::uint64_t max_size_again = 0;
  std::uint64_t size_again = 0;
  Lsn create_lsn{};
  Lsn drop_lsn{};
  Lsn differential_base_lsn{};
  std::uint16_t unknown6 = 0;
  GuidBytes differential_base_guid{};
  GuidBytes unique_id{};
  Lsn first_lsn{};
  std::array<std::uint8_t, 6> unknown7{};
  Lsn last_lsn{};
  std::array<std::uint8_t, 6> unknown8{};
  Lsn checkpoint_lsn{};
  std::array<std::uint8_t, 6> unknown9{};
  std::uint64_t backup_size = 0;
};
static_assert(sizeof(FileRecord) == 258);
inline constexpr std::uint32_t kFileData = 1;
inline constexpr std::uint32_t kFileLog = 2;

// Soft filemarks since version 10.0, which kFilemarkSqlLayout marks: byte offsets follow. In 9.0
// they follow the common part.
struct FilemarkHeader {
  SoftFilemarkHeader common;
  std::uint32_t array_offset = 72;
  std::array<std::uint32_t, 2> unknown{};
};
static_assert(sizeof(FilemarkHeader) == 72);

// The head of a page of a database, as far as it is looked at.
struct PageHead {
  std::uint8_t version = 0;  // 1
  std::array<std::uint8_t, 31> unknown{};
  std::uint32_t page_id = 0;
  std::uint16_t file_id = 0;
};
static_assert(sizeof(PageHead) == 38);

// The compressed container: a header of 0x1E0 bytes, then records.
inline constexpr char kContainerMagic[9] = "MSSQLBAK";
inline constexpr std::uint64_t kFirstRecord = 0x1E0;
enum class RecordType : std::uint8_t {
  kCompressed = 0x21,  // checksum and payload follow
  kFiller = 0x24,      // `size` bytes follow
  kIndex = 0x2C,       // ContainerIndexHead, then entries, up to a filemark
};
struct ContainerRecord {
  RecordType type{};
  std::uint8_t units = 0;  // of 512 bytes: how much a compressed one holds
  std::uint16_t size = 0;  // of what follows, without the checksum
  std::array<std::uint8_t, 20> unknown{};
};
static_assert(sizeof(ContainerRecord) == 24);
struct ContainerIndexHead {
  std::uint16_t unknown1 = 1;
  std::uint16_t unknown2 = 1;
  std::uint32_t count = 0;
  std::uint32_t size = 0;  // from the head's first byte to the filemark
  std::uint32_t unknown3 = 0;
};
static_assert(sizeof(ContainerIndexHead) == 16);
struct ContainerIndexEntry {
  std::uint64_t set_offset = 0;   // in the uncompressed set, from its SSET
  std::uint64_t file_offset = 0;  // of the record that begins with it
};
static_assert(sizeof(ContainerIndexEntry) == 16);

#pragma pack(pop)

}  // namespace capstan::media::sqlserver
