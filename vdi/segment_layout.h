// The control area of a device set, byte by byte: what both processes see in shared memory.
//
// Changing a width, an order or a meaning here requires a new kSegmentVersion. `magic` and
// `version` never move. Fixed width, no pointers, little endian; reserved bytes are zero.
// Drawing and ordering argument: vdi/segment.md.
//
//   0        ControlHeader                 128 bytes
//   128      DeviceArea of device 0        kDeviceAreaSize bytes
//   ...      DeviceArea of device n-1
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace capstan::vdi {

inline constexpr std::size_t kCacheLine = 64;  // part of the layout, whatever the machine has
inline constexpr std::uint64_t kSegmentMagic = 0x3130'4944'5650'4143;  // "CAPVDI01" in memory
inline constexpr std::uint32_t kSegmentVersion = 2;

// Commands in flight per device at most. A set of 64 devices may thus have 16384 buffers under way,
// beyond any BUFFERCOUNT that memory allows.
inline constexpr std::uint32_t kRingCapacity = 256;

// Buffer areas of a set at most; a command names one by its index.
inline constexpr std::uint32_t kBufferAreasMax = 16;

// Words of a record are single relaxed loads and stores: the reader gets a private copy of whatever
// stands there, and a peer that scribbles meanwhile is not a data race.
template <typename Record>
struct SharedRecord {
  static_assert(std::is_trivially_copyable_v<Record> && sizeof(Record) % 8 == 0);
  std::array<std::atomic<std::uint64_t>, sizeof(Record) / 8> words;
};

// A free-running count of records, alone on its cache line.
struct alignas(kCacheLine) RingIndex {
  std::atomic<std::uint64_t> count;
  std::array<std::uint8_t, 56> reserved;
};

// A futex: 1 while its one sleeper sleeps or is about to, otherwise 0. See wake.h.
struct alignas(kCacheLine) SleepWord {
  std::atomic<std::uint32_t> asleep;
  std::array<std::uint8_t, 60> reserved;
};

// Engine to client: one command.
struct CommandRecord {
  std::uint64_t id;             // the engine's; comes back in the completion
  std::int64_t position;        // as ClientCommand::position
  std::uint64_t buffer_offset;  // of the data, from the start of its buffer area
  std::uint32_t size;
  std::int32_t code;          // CommandCode, or kCloseRecord
  std::uint32_t buffer_area;  // index of the area, below kBufferAreasMax
  std::array<std::uint32_t, 7> reserved;
};

// Not a command of VDI: the engine has closed the device. Always the last record of a ring.
inline constexpr std::int32_t kCloseRecord = 0x1000;

// Client to engine: how one command ended.
struct CompletionRecord {
  std::uint64_t id;
  std::int64_t position;
  std::uint32_t code;  // CompletionCode
  std::uint32_t bytes;
  std::uint64_t reserved;
};

// `posted` is written by the producer only, `taken` by the consumer only.
template <typename Record>
struct Ring {
  RingIndex posted;
  RingIndex taken;
  std::array<SharedRecord<Record>, kRingCapacity> slots;
};

// DeviceArea::client_state is a state in the low byte, and above it the member that the device
// belongs to: 0 for the process that created the set, otherwise the number it was given on joining.
// A member opens a device by swapping kClientClosed for its word; from then on the word is its own.
inline constexpr std::uint32_t kClientClosed = 0;
inline constexpr std::uint32_t kClientOpen = 1;
inline constexpr std::uint32_t kClientFinished = 2;  // has seen the close record
inline constexpr std::uint32_t kMemberMax = 0xFF'FFFF;

constexpr std::uint32_t ClientWord(std::uint32_t state, std::uint32_t member) {
  return member << 8 | state;
}
constexpr std::uint32_t StateOfWord(std::uint32_t word) {
  return word & 0xFF;
}
constexpr std::uint32_t MemberOfWord(std::uint32_t word) {
  return word >> 8;
}

struct alignas(kCacheLine) DeviceArea {
  SleepWord client_sleep;                   // the thread in this device's GetCommand
  std::atomic<std::uint32_t> client_state;  // a ClientWord; written by the clients
  std::array<std::uint8_t, 60> reserved;
  Ring<CommandRecord> commands;
  Ring<CompletionRecord> completions;
};

struct alignas(kCacheLine) ControlHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t header_size;       // of this structure
  std::uint32_t device_area_size;  // of each DeviceArea
  std::uint32_t device_count;
  std::uint32_t ring_capacity;
  std::array<std::uint8_t, 36> reserved;
  SleepWord engine_sleep;  // the set's completion thread
};

inline constexpr std::size_t kDeviceAreaSize = sizeof(DeviceArea);

constexpr std::size_t ControlAreaSize(std::uint32_t device_count) {
  return sizeof(ControlHeader) + device_count * kDeviceAreaSize;
}

static_assert(std::atomic<std::uint64_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint64_t>) == 8);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
              sizeof(std::atomic<std::uint32_t>) == 4);
static_assert((kRingCapacity & (kRingCapacity - 1)) == 0, "slots are found by masking");
static_assert(sizeof(RingIndex) == 64 && sizeof(SleepWord) == 64);

static_assert(sizeof(CommandRecord) == 64);
static_assert(offsetof(CommandRecord, id) == 0);
static_assert(offsetof(CommandRecord, position) == 8);
static_assert(offsetof(CommandRecord, buffer_offset) == 16);
static_assert(offsetof(CommandRecord, size) == 24);
static_assert(offsetof(CommandRecord, code) == 28);
static_assert(offsetof(CommandRecord, buffer_area) == 32);
static_assert(offsetof(CommandRecord, reserved) == 36);

static_assert(sizeof(CompletionRecord) == 32);
static_assert(offsetof(CompletionRecord, id) == 0);
static_assert(offsetof(CompletionRecord, position) == 8);
static_assert(offsetof(CompletionRecord, code) == 16);
static_assert(offsetof(CompletionRecord, bytes) == 20);
static_assert(offsetof(CompletionRecord, reserved) == 24);

static_assert(sizeof(Ring<CommandRecord>) == 16512);
static_assert(sizeof(Ring<CompletionRecord>) == 8320);
static_assert(offsetof(Ring<CommandRecord>, posted) == 0);
static_assert(offsetof(Ring<CommandRecord>, taken) == 64);
static_assert(offsetof(Ring<CommandRecord>, slots) == 128);

static_assert(sizeof(DeviceArea) == 24960);
static_assert(offsetof(DeviceArea, client_sleep) == 0);
static_assert(offsetof(DeviceArea, client_state) == 64);
static_assert(offsetof(DeviceArea, commands) == 128);
static_assert(offsetof(DeviceArea, completions) == 16640);

static_assert(sizeof(ControlHeader) == 128);
static_assert(offsetof(ControlHeader, magic) == 0, "never moves");
static_assert(offsetof(ControlHeader, version) == 8, "never moves");
static_assert(offsetof(ControlHeader, header_size) == 12);
static_assert(offsetof(ControlHeader, device_area_size) == 16);
static_assert(offsetof(ControlHeader, device_count) == 20);
static_assert(offsetof(ControlHeader, ring_capacity) == 24);
static_assert(offsetof(ControlHeader, engine_sleep) == 64);

}  // namespace capstan::vdi
