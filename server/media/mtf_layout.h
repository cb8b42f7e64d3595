// The bytes of Microsoft Tape Format 1.00a, as far as we write or read them: packed structures,
// constants, nothing that runs. Names and sections follow MTF 1.00a; numbers are little endian.
//
// DO NOT CHANGE a field that exists: media outlive servers.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "server/media/backup_set.h"

namespace capstan::media {

static_assert(std::endian::native == std::endian::little, "the structures are copied as they are");

constexpr std::uint32_t FourCc(const char (&text)[5]) {
  return static_cast<std::uint32_t>(static_cast<unsigned char>(text[0])) |
         static_cast<std::uint32_t>(static_cast<unsigned char>(text[1])) << 8 |
         static_cast<std::uint32_t>(static_cast<unsigned char>(text[2])) << 16 |
         static_cast<std::uint32_t>(static_cast<unsigned char>(text[3])) << 24;
}

enum class BlockType : std::uint32_t {
  kTape = FourCc("TAPE"),
  kSet = FourCc("SSET"),
  kVolume = FourCc("VOLB"),
  kDirectory = FourCc("DIRB"),
  kFile = FourCc("FILE"),
  kEndOfSet = FourCc("ESET"),
  kEndOfMedium = FourCc("EOTM"),
  kSoftFilemark = FourCc("SFMB"),
};
static_assert(static_cast<std::uint32_t>(BlockType::kTape) == 0x45504154);

enum class StreamType : std::uint32_t {
  kStandard = FourCc("STAN"),
  kPad = FourCc("SPAD"),
  kSetMap = FourCc("TSMP"),
  // Ours, see capstan_layout.h.
  kMediaSet = FourCc("CPMS"),
  kDescriptor = FourCc("CPBD"),
  kSetBegin = FourCc("CPSB"),
  kFrame = FourCc("CPFR"),
  kVoid = FourCc("CPVD"),
  kFamilies = FourCc("CPFS"),
  kFrameIndex = FourCc("CPIX"),
  kMediaMap = FourCc("CPMM"),
  kContinued = FourCc("CPCN"),
  kMediumEnd = FourCc("CPEM"),
  kAuthentication = FourCc("CPAU"),
  kSetEnd = FourCc("CPSE"),
};

inline constexpr std::uint8_t kOsNt = 14;
inline constexpr std::uint8_t kOsNtVersion = 1;
inline constexpr std::uint8_t kStringUtf16 = 2;
inline constexpr std::uint8_t kMtfMajor = 1;
inline constexpr std::uint8_t kMtfMinor = 0;
inline constexpr std::uint8_t kCatalogType1Version = 2;  // in SSET
inline constexpr std::uint16_t kCatalogType1 = 1;        // in TAPE
inline constexpr std::int8_t kTimeZoneUnset = 127;

// Block attributes. MTF 1.00a numbers bits anew for every type of block.
inline constexpr std::uint32_t kContinuation = 1;            // TAPE, SSET, VOLB, DIRB
inline constexpr std::uint32_t kSetIsCompressed = 1U << 2;   // all blocks of a set
inline constexpr std::uint32_t kEndOfSetAtEom = 1U << 3;     // SSET: only its end comes here
inline constexpr std::uint32_t kTapeHasSetMap = 1U << 16;    // TAPE
inline constexpr std::uint32_t kEndOfFamily = 1U << 17;      // ESET: nothing may follow
inline constexpr std::uint32_t kEotmHasNoEset = 1U << 16;    // EOTM
inline constexpr std::uint32_t kEotmEsetUnknown = 1U << 17;  // EOTM: its PBA of an ESET is none
inline constexpr std::uint32_t kSetIsEncrypted = 1U << 17;   // SSET
inline constexpr std::uint32_t kTapeSoftFilemarks = 1;       // TAPE attributes
inline constexpr std::uint32_t kTapeDescriptionIsLabel = 2;
inline constexpr std::uint32_t kSetCopy = 2;  // SSET and ESET attributes
inline constexpr std::uint32_t kSetNormal = 4;
inline constexpr std::uint32_t kSetDifferential = 8;
inline constexpr std::uint32_t kSetIncremental = 16;
inline constexpr std::uint32_t kSetDaily = 32;
inline constexpr std::uint32_t kVolumeIsDriveLetter = 4;
inline constexpr std::uint32_t kFilemarkSqlLayout = 1U << 31;  // block attribute of SFMB

// Media format attributes of a stream.
inline constexpr std::uint16_t kStreamVariable = 1U << 1;     // its length is that of one piece ...
inline constexpr std::uint16_t kStreamVariableEnd = 1U << 2;  // ... and this is the last one
inline constexpr std::uint16_t kStreamEncrypted = 1U << 3;
inline constexpr std::uint16_t kStreamCompressed = 1U << 4;

#pragma pack(push, 1)

// Where in a block a string or a field of variable size stands; {0, 0} if it is absent.
struct TapeAddress {
  std::uint16_t size = 0;  // bytes
  std::uint16_t offset = 0;
};

struct MtfDate {
  std::array<std::uint8_t, 5> bytes{};  // all zero = unknown
};

struct BlockHeader {
  BlockType type{};
  std::uint32_t attributes = 0;
  std::uint16_t first_event_offset = 0;  // of the first stream header; in SFMB the block's size
  std::uint8_t os_id = kOsNt;
  std::uint8_t os_version = kOsNtVersion;
  std::uint64_t displayable_size = 0;
  std::uint64_t fla = 0;
  std::uint16_t reserved_mbc = 0;
  std::array<std::uint8_t, 6> reserved1{};
  std::uint32_t control_block_id = 0;
  std::uint32_t reserved2 = 0;
  TapeAddress os_data{};
  std::uint8_t string_type = 0;
  std::uint8_t reserved3 = 0;
  std::uint16_t checksum = 0;  // XOR of the 25 words before it
};
static_assert(sizeof(BlockHeader) == 52);

struct TapeBlock {
  BlockHeader header{.type = BlockType::kTape};
  std::uint32_t media_family_id = 0;
  std::uint32_t attributes = 0;
  std::uint16_t media_sequence_number = 0;
  std::uint16_t password_algorithm = 0;
  std::uint16_t soft_filemark_units = 0;  // of 512 bytes
  std::uint16_t catalog_type = 0;
  TapeAddress name{};
  TapeAddress description{};
  TapeAddress password{};
  TapeAddress software_name{};
  std::uint16_t format_logical_block = 0;
  std::uint16_t software_vendor_id = 0;
  MtfDate date{};
  std::uint8_t mtf_major = 0;
};
static_assert(sizeof(TapeBlock) == 94);

struct SetBlock {
  BlockHeader header{.type = BlockType::kSet};
  std::uint32_t attributes = 0;
  std::uint16_t password_algorithm = 0;
  std::uint16_t compression_algorithm = 0;
  std::uint16_t software_vendor_id = 0;
  std::uint16_t set_number = 0;
  TapeAddress name{};
  TapeAddress description{};
  TapeAddress password{};
  TapeAddress user_name{};
  std::uint64_t pba = 0;
  MtfDate date{};
  std::uint8_t software_major = 0;
  std::uint8_t software_minor = 0;
  std::int8_t time_zone = kTimeZoneUnset;  // quarter hours from UTC
  std::uint8_t mtf_minor = 0;
  std::uint8_t catalog_version = 0;
};
static_assert(sizeof(SetBlock) == 98);

// OS-specific data of SSET; SQL Server's is the same without the last byte.
struct SetOsData {
  std::array<std::uint8_t, 16> backup_set_guid{};
  MtfDate expiration{};
  std::uint8_t reserved = 0;
};
static_assert(sizeof(SetOsData) == 22);

struct VolumeBlock {
  BlockHeader header{.type = BlockType::kVolume};
  std::uint32_t attributes = 0;
  TapeAddress device_name{};
  TapeAddress volume_name{};
  TapeAddress machine_name{};
  MtfDate date{};
};
static_assert(sizeof(VolumeBlock) == 73);

struct DirectoryBlock {
  BlockHeader header{.type = BlockType::kDirectory};
  std::uint32_t attributes = 0;
  MtfDate modified{};
  MtfDate created{};
  MtfDate backed_up{};
  MtfDate accessed{};
  std::uint32_t directory_id = 0;  // from 1
  TapeAddress path{};
};
static_assert(sizeof(DirectoryBlock) == 84);

struct FileBlock {
  BlockHeader header{.type = BlockType::kFile};
  std::uint32_t attributes = 0;
  MtfDate modified{};
  MtfDate created{};
  MtfDate backed_up{};
  MtfDate accessed{};
  std::uint32_t directory_id = 0;
  std::uint32_t file_id = 0;  // from 1
  TapeAddress name{};
};
static_assert(sizeof(FileBlock) == 88);

struct EndOfSetBlock {
  BlockHeader header{.type = BlockType::kEndOfSet};
  std::uint32_t attributes = 0;
  std::uint32_t corrupt_files = 0;
  std::uint64_t first_pba = 0;    // in the second ESET: of the first one
  std::uint64_t set_map_pba = 0;  // in the second ESET: of the TSMP stream
  std::uint16_t fdd_media_sequence = 0;
  std::uint16_t set_number = 0;
  MtfDate date{};
};
static_assert(sizeof(EndOfSetBlock) == 85);

// MTF 1.00a, "End Of Tape Marker": behind the last thing that fits on a medium.
struct EndOfMediumBlock {
  BlockHeader header{.type = BlockType::kEndOfMedium};
  std::uint64_t last_eset_pba = 0;
};
static_assert(sizeof(EndOfMediumBlock) == 60);

struct SoftFilemarkHeader {
  BlockHeader header{.type = BlockType::kSoftFilemark};
  std::uint32_t capacity = 0;
  std::uint32_t used = 0;  // entries, nearest previous filemark first
};
static_assert(sizeof(SoftFilemarkHeader) == 60);

struct StreamHeader {
  StreamType type{};
  std::uint16_t file_system_attributes = 0;
  std::uint16_t format_attributes = 0;
  std::uint64_t length = 0;  // of the data
  std::uint16_t encryption_algorithm = 0;
  std::uint16_t compression_algorithm = 0;
  std::uint16_t checksum = 0;  // XOR of the 10 words before it
};
static_assert(sizeof(StreamHeader) == 22);

// MTF's "frame header", in front of compressed (FH) or encrypted (EH) data in a stream.
struct PayloadHeader {
  std::uint16_t id = 0;
  std::uint16_t format_attributes = 0;  // that the stream would have without this header
  std::uint64_t size_to_end = 0;        // bytes before coding, from here to the end of the stream
  std::uint32_t size_before = 0;        // the same of this frame
  std::uint32_t size = 0;               // bytes behind this header; size_before: stored as it was
  std::uint8_t sequence = 1;
  std::uint8_t reserved = 0;
  std::uint16_t checksum = 0;  // XOR of the 11 words before it
};
static_assert(sizeof(PayloadHeader) == 24);

// TSMP: header, then per set an entry with its strings, then the entries of the set's volumes.
struct SetMapHeader {
  std::uint32_t media_family_id = 0;
  std::uint16_t set_count = 0;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(SetMapHeader) == 8);

struct SetMapEntry {
  std::uint16_t length = 0;  // with the strings
  std::uint16_t media_sequence_number = 0;
  std::uint32_t block_attributes = 0;
  std::uint32_t set_attributes = 0;
  std::uint64_t set_pba = 0;
  std::uint64_t fdd_pba = 0;
  std::uint16_t fdd_media_sequence = 0;
  std::uint16_t set_number = 0;
  std::uint64_t fla = 0;
  std::uint32_t directory_count = 0;
  std::uint32_t file_count = 0;
  std::uint32_t corrupt_file_count = 0;
  std::uint64_t displayable_size = 0;
  std::uint16_t volume_count = 0;
  std::uint16_t password_algorithm = 0;
  TapeAddress name{};
  TapeAddress password{};
  TapeAddress description{};
  TapeAddress user_name{};
  MtfDate date{};
  std::int8_t time_zone = kTimeZoneUnset;
  std::uint8_t os_id = kOsNt;
  std::uint8_t os_version = kOsNtVersion;
  std::uint8_t string_type = kStringUtf16;
  std::uint8_t mtf_minor = 0;
  std::uint8_t catalog_version = 0;
  std::uint8_t reserved = 0;
};
static_assert(sizeof(SetMapEntry) == 92);

struct SetMapVolume {
  std::uint16_t length = 0;  // with the strings
  BlockType type = BlockType::kVolume;
  std::uint16_t media_sequence_number = 0;
  std::uint32_t block_attributes = 0;
  std::uint64_t fla = 0;
  std::uint64_t displayable_size = 0;
  std::int32_t link = 0;
  std::uint8_t os_id = kOsNt;
  std::uint8_t os_version = kOsNtVersion;
  std::uint8_t string_type = kStringUtf16;
  std::uint8_t reserved = 0;
  std::uint32_t attributes = 0;
  TapeAddress device_name{};
  TapeAddress volume_name{};
  TapeAddress machine_name{};
  TapeAddress os_data{};
  MtfDate date{};
};
static_assert(sizeof(SetMapVolume) == 61);

#pragma pack(pop)

inline constexpr std::uint16_t kCompressionHeaderId = 0x4846;  // "FH"
inline constexpr std::uint16_t kEncryptionHeaderId = 0x4845;   // "EH"

}  // namespace capstan::media
