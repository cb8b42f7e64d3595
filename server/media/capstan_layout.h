// The bytes of Capstan's own vendor streams: what they hold and how they are sealed. The page that
// explains them is format.md.
//
// Every stream begins with its own version and ends in a StreamSeal. A reader refuses a version
// that it does not know. DO NOT CHANGE a field that exists.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "server/media/mtf_layout.h"

namespace capstan::media {

inline constexpr std::uint16_t kStreamVersion = 1;
// Of a CPFR whose frame is void, so that readers that do not know of such refuse it.
inline constexpr std::uint16_t kVoidFrameVersion = 2;

#pragma pack(push, 1)

// The last bytes of every stream of ours. `covered` counts the bytes directly before `crc32c`, this
// field included; they begin with the nearest TAPE, SSET, FILE, ESET or EOTM block or behind the
// seal before this one, whichever is later. Thus names, dates and private fields, which MTF's own
// checksums leave out, are protected as well.
struct StreamSeal {
  std::uint64_t covered = 0;
  std::uint32_t crc32c = 0;
};
static_assert(sizeof(StreamSeal) == 12);

// CPMS, on TAPE: the media set.
struct MediaSetStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t compressed = 0;
  std::array<std::uint8_t, 16> media_set_id{};
  std::uint16_t family_count = 0;
  std::uint16_t family_number = 0;
  std::uint16_t mirror_count = 0;
  std::uint16_t encrypted = 0;
  std::int64_t date_unix_s = 0;
  StreamSeal seal{};
};
static_assert(sizeof(MediaSetStream) == 48);

// CPBD, on VOLB (as known at the beginning) and on the first ESET (final): `length` bytes of
// Protobuf follow, then zeros, then the seal.
struct DescriptorStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t is_final = 0;
  std::uint32_t length = 0;
};
static_assert(sizeof(DescriptorStream) == 8);

// CPSB, on the last DIRB: the frames begin behind this block's SPAD.
struct SetBeginStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t packing = 0;  // what frames' sizes are multiples of, x 512 bytes; 0: transfer_size
  std::uint32_t transfer_size = 0;
  StreamSeal seal{};
};
static_assert(sizeof(SetBeginStream) == 20);

// CPFR, on FILE: what the STAN stream behind it carries. Of a void frame, which has CPVD in the
// place of STAN, what it once was.
struct FrameStream {
  std::uint16_t version = kStreamVersion;
  std::uint8_t codec = 0;   // CodecId
  std::uint8_t cipher = 0;  // CipherId
  std::uint32_t file_index = 0;
  std::uint64_t sequence = 0;
  std::uint64_t file_offset = 0;
  std::uint32_t payload_length = 0;   // as stored
  std::uint32_t original_length = 0;  // before codec and cipher; 0: a void frame
  std::uint32_t payload_crc32c = 0;   // as stored
  std::array<std::uint8_t, 16> backup_set_guid{};
  StreamSeal seal{};
};
static_assert(sizeof(FrameStream) == 64);

// CPFS, on the first ESET: `count` FamilyEntry follow, then the seal.
struct FamiliesStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t count = 0;
};
struct FamilyEntry {
  std::uint16_t family_number = 0;
  std::uint16_t reserved = 0;
  std::uint32_t digest = 0;
  std::uint64_t frame_count = 0;
  std::uint64_t payload_bytes = 0;
};
static_assert(sizeof(FamilyEntry) == 24);

// CPIX, on the first ESET: one IndexEntry per frame of this family in the order of the medium, then
// the seal. Frame i stands transfer_size x i behind the first one.
struct FrameIndexStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t entry_size = 24;  // or 32, see PackedIndexEntry
  std::uint32_t reserved = 0;
  std::uint64_t count = 0;
};
static_assert(sizeof(FrameIndexStream) == 16);
struct IndexEntry {
  std::uint64_t file_offset = 0;
  std::uint64_t sequence_and_length = 0;  // sequence << 24 | length
  std::uint32_t file_index = 0;           // | kVoidEntry
  std::uint32_t crc32c = 0;
};
static_assert(sizeof(IndexEntry) == 24);
// Of a void frame. No set has so many files.
inline constexpr std::uint32_t kVoidEntry = 1U << 31;
// Of a packed set.
struct PackedIndexEntry {
  IndexEntry entry;
  std::uint32_t original_length = 0;
  std::uint32_t frame_size = 0;
};
static_assert(sizeof(PackedIndexEntry) == 32);

// CPMM, on the first ESET of a family that lies on more than one medium: `count` MediaMapEntry
// follow, in the order of the media, then the seal. It tells on which medium a frame of CPIX is.
struct MediaMapStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t count = 0;
};
struct MediaMapEntry {
  std::uint16_t media_sequence_number = 0;
  std::uint16_t reserved1 = 0;
  std::uint32_t reserved2 = 0;
  std::uint64_t frame_count = 0;  // on this medium
  std::uint64_t payload_bytes = 0;
};
static_assert(sizeof(MediaMapEntry) == 24);

// Where a set passes from one medium to the next. CPEM, on EOTM: what the family has held up to and
// with this medium. CPCN, on the TAPE of the next one: the same numbers, of the media before it.
struct SpanStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t media_sequence_number = 0;  // of the medium that it stands on
  std::uint16_t set_number = 0;
  std::uint16_t reserved1 = 0;
  std::array<std::uint8_t, 16> backup_set_guid{};
  std::uint64_t frame_count = 0;
  std::uint64_t payload_bytes = 0;
  std::uint32_t digest = 0;  // of the frame index so far
  std::uint32_t reserved2 = 0;
  StreamSeal seal{};
};
static_assert(sizeof(SpanStream) == 60);

// CPAU, on VOLB and the second ESET of an encrypted set: proves that what this family says there is
// what was written, to whoever has the key.
struct AuthenticationStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t what = 0;  // AuthenticatedPart
  // How often the backup was gone on with: the key is the same, and what is proved is not.
  std::uint32_t restarts = 0;
  std::array<std::byte, 16> tag{};
  StreamSeal seal{};
};
static_assert(sizeof(AuthenticationStream) == 36);
enum class AuthenticatedPart : std::uint16_t { kHead = 2, kEnd = 3 };

// What stands in front of the descriptor in the text that proves a family's beginning.
struct AuthenticatedHead {
  std::uint16_t family_number = 0;
  std::uint16_t family_count = 0;
  std::uint32_t media_family_id = 0;
  std::array<std::uint8_t, 16> media_set_id{};
};
static_assert(sizeof(AuthenticatedHead) == 24);

// What ends the text that proves a family's end.
struct AuthenticatedEnd {
  std::uint16_t family_number = 0;
  std::uint16_t family_count = 0;
  std::uint32_t descriptor_length = 0;
  std::uint64_t frame_count = 0;
};
static_assert(sizeof(AuthenticatedEnd) == 16);

// What is authenticated together with an encrypted frame. It stands nowhere.
struct FrameAssociatedData {
  std::array<std::uint8_t, 16> backup_set_guid{};
  std::uint64_t sequence = 0;
  std::uint64_t file_offset = 0;
  std::uint32_t file_index = 0;
  std::uint32_t stored_length = 0;
  std::uint32_t original_length = 0;
  std::uint8_t codec = 0;
  std::uint8_t cipher = 0;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(FrameAssociatedData) == 48);

// CPSE, on the second ESET: nothing but the seal over it.
struct SetEndStream {
  std::uint16_t version = kStreamVersion;
  std::uint16_t reserved = 0;
  StreamSeal seal{};
};
static_assert(sizeof(SetEndStream) == 16);

#pragma pack(pop)

// Algorithm ids of ours, in SSET and in stream headers.
inline constexpr std::uint16_t kZstdAlgorithm = 0x4351;
inline constexpr std::uint16_t kLz4Algorithm = 0x4352;
inline constexpr std::uint16_t kAes256GcmAlgorithm = 0x4361;

inline constexpr std::uint32_t kPackingUnit = 512;  // bytes, of SetBeginStream::packing

inline constexpr std::uint32_t kTransferSizeMin = 65536;
inline constexpr std::uint32_t kTransferSizeMax = (1U << 24) - kPhysicalBlock;  // length: 24 bits
inline constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 40) - 1;
inline constexpr std::uint64_t kDescriptorSizeMax = 32U << 20;
inline constexpr std::uint16_t kMediaCountMax = 65535;  // of a family: a sequence number's 16 bits
inline constexpr std::uint16_t kFamilyCountMax = 64;    // as many devices as one statement may name

}  // namespace capstan::media
