// The vocabulary of a virtual device: commands, completion codes, features, configuration.
//
// Names and numbers are those of SQL Server's Virtual Backup Device Interface (VDI), so that a DBA
// or a vendor recognises them. Plain data: no I/O, no threads, no ownership.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace capstan::vdi {

inline constexpr std::uint32_t kDeviceCountMax = 64;
inline constexpr std::size_t kSetNameSizeMax = 128;  // bytes, without a terminator

// VDC_* of VDI. The engine sends them, the client executes them.
enum class CommandCode : std::int32_t {
  kRead = 1,
  kWrite = 2,
  kClearError = 3,
  kRewind = 4,
  kWriteMark = 5,
  kSkipMarks = 6,
  kSkipBlocks = 7,
  kLoad = 8,
  kGetPosition = 9,
  kSetPosition = 10,
  kDiscard = 11,
  kFlush = 12,
  kSnapshot = 13,
  kMountSnapshot = 14,
  kPrepareToFreeze = 15,
  kFileInfoBegin = 16,
  kFileInfoEnd = 17,
  kGetError = 18,
  kComplete = 19,
};
std::string_view CommandName(CommandCode code);

// Read and Write: they have a buffer, and bytes that were transferred.
constexpr bool IsTransfer(CommandCode code) {
  return code == CommandCode::kRead || code == CommandCode::kWrite;
}
// Their completion carries a position.
constexpr bool ReportsPosition(CommandCode code) {
  return code == CommandCode::kGetPosition || code == CommandCode::kSetPosition;
}

// How a command ended: Win32 numbers, as VDI has them.
enum class CompletionCode : std::uint32_t {
  kSuccess = 0,
  kAccessDenied = 5,
  kInvalidHandle = 6,
  kNotReady = 21,
  kCrc = 23,
  kWriteFault = 29,
  kReadFault = 30,
  kHandleEof = 38,       // Read: end of data; the bytes transferred are valid
  kHandleDiskFull = 39,  // Write: BACKUP is aborted
  kNotSupported = 50,
  kDiskFull = 112,
  kFileTooLarge = 223,
  kOperationAborted = 995,
  kEndOfMedia = 1100,  // Write: early warning; the data was stored
  kFilemarkDetected = 1101,
  kBeginningOfMedia = 1102,
  kNoDataDetected = 1104,  // same as kHandleEof
  kMediaChanged = 1110,
  kNoMediaInDrive = 1112,
  kIoDevice = 1117,  // the device is in IO-ERROR
  kEomOverflow = 1129,
  kNoSystemResources = 1450,  // the command queue is full
};
// "112(There is not enough space on the disk.)": SQL Server's way to print one.
std::string_view CompletionText(CompletionCode code);

// kSetPosition's `size` on a random-access device.
enum class Whence : std::uint32_t { kBeginning = 0, kCurrent = 1, kEnd = 2 };

// VDF_* of VDI: bits of DeviceSetConfig::features.
namespace feature {
inline constexpr std::uint32_t kLikePipe = 0;
inline constexpr std::uint32_t kRemovable = 0x1;
inline constexpr std::uint32_t kRewind = 0x2;
inline constexpr std::uint32_t kPosition = 0x10;
inline constexpr std::uint32_t kSkipBlocks = 0x20;
inline constexpr std::uint32_t kReversePosition = 0x40;
inline constexpr std::uint32_t kDiscard = 0x80;
inline constexpr std::uint32_t kFileMarks = 0x100;
inline constexpr std::uint32_t kRandomAccess = 0x200;
inline constexpr std::uint32_t kSnapshotPrepare = 0x400;
inline constexpr std::uint32_t kEnumFrozenFiles = 0x800;  // kFileInfoBegin and kFileInfoEnd
inline constexpr std::uint32_t kVssWriter = 0x1000;       // the client is a snapshot service
inline constexpr std::uint32_t kRequestComplete = 0x2000;
inline constexpr std::uint32_t kWriteMedia = 0x10000;  // set by the engine: BACKUP
inline constexpr std::uint32_t kReadMedia = 0x20000;   // set by the engine: RESTORE
inline constexpr std::uint32_t kCompleteEnabled =
    0x40000;  // set by the engine: kComplete will come
inline constexpr std::uint32_t kLikeTape = 0x173;
inline constexpr std::uint32_t kLikeDisk = kRandomAccess;
}  // namespace feature

// VDConfig of VDI: the client's wishes at Create, the final values after configuration.
struct DeviceSetConfig {
  std::uint32_t device_count = 0;              // 1..64; the only field a client must set
  std::uint32_t features = 0;                  // feature:: bits
  std::uint32_t prefix_zone_size = 0;          // bytes in front of each buffer, the client's own
  std::uint32_t alignment = 0;                 // bytes, power of two; 0 = no wish
  std::uint32_t soft_filemark_block_size = 0;  // bytes; only with kFileMarks
  std::uint32_t eom_warning_size = 0;          // bytes
  std::uint32_t server_timeout_ms = 0;         // 0 = none
  std::uint32_t block_size = 0;                // set by the engine: 512..65536, power of two
  std::uint32_t max_io_depth = 0;              // set by the engine: always 4 (deprecated in VDI)
  std::uint32_t max_transfer_size = 0;         // set by the engine: multiple of 65536, up to 4 MiB
  std::uint32_t buffer_area_size = 0;          // set by the engine: bytes
};
static_assert(sizeof(DeviceSetConfig) == 44, "VDConfig's layout is given by VDI");

}  // namespace capstan::vdi
