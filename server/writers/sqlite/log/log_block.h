// LogBlock: the unit of a kept log, on disk (LogSpool) and in a log backup alike: a header of 96
// bytes, then frames of a WAL exactly as they stood there. Layout: sqlite.md, "Log".
//
// A block is self-describing and verified by itself (hashes), and against its neighbours (the
// checksums of WAL frames run on from block to block). Plain values, no threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "server/writers/chain.h"
#include "server/writers/sqlite/sqlite_format.h"
#include "vdi/base/status.h"

namespace capstan::writers {

using WalSalt = std::array<std::byte, 8>;

// Up to where a WAL has been read, and with what the next frame must go on.
struct WalPosition {
  std::uint32_t generation = 0;  // ours: grows with every WAL that begins anew
  std::uint32_t frame = 0;       // the last one that was read; 0: none of this generation
  WalSalt salt{};
  WalChecksum checksum;  // of that frame; of the WAL's header if there was none
  ChecksumOrder order = ChecksumOrder::kLittleEndian;
  std::uint32_t page_size = 0;  // 0: not known before the first frame

  Lsn lsn() const { return {std::uint64_t{generation} << 32 | frame}; }
};

enum class LogBlockKind : std::uint16_t {
  kBegin = 1,   // nothing: says from where the blocks behind it go on
  kFrames = 2,  // frames
  kAtRest = 3,  // all frames so far are in the database file, which has this size and time
  kEnd = 4,     // of a log backup: there was no other commit until this time
};

struct LogBlock {
  LogBlockKind kind = LogBlockKind::kBegin;
  WalPosition end;                  // behind the block
  std::uint32_t frame_count = 0;    // of this block
  std::uint32_t commit_frame = 0;   // the last frame here that ends a commit; 0: none does
  std::int64_t time_unix_us = 0;    // when the frames were seen
  std::int64_t file_mtime_ns = 0;   // of kAtRest
  std::uint64_t file_size = 0;      // of kAtRest
  std::uint64_t payload_bytes = 0;  // behind the header
  std::uint64_t payload_hash = 0;

  std::uint32_t frame_bytes() const {
    return end.page_size + static_cast<std::uint32_t>(kSqliteFrameHeaderBytes);
  }
  // In front of the block.
  Lsn first() const { return {end.lsn().value - frame_count}; }
};

inline constexpr std::size_t kLogBlockHeaderBytes = 96;
inline constexpr std::uint64_t kLogBlockPayloadMax = std::uint64_t{2} << 20;

using LogBlockBytes = std::array<std::byte, kLogBlockHeaderBytes>;

LogBlockBytes EncodeLogBlock(const LogBlock& block);
// kDataLoss if this is no header of a block, or damaged.
Result<LogBlock> DecodeLogBlock(std::span<const std::byte, kLogBlockHeaderBytes> bytes);
// kDataLoss if the payload is not the block's.
Status CheckPayload(const LogBlock& block, std::span<const std::byte> payload);

// What stands in front of a frame's page.
struct WalFrame {
  std::uint32_t page_number = 0;
  std::uint32_t commit_page_count = 0;  // 0: the transaction goes on
};
WalFrame ReadFrameHeader(const std::byte* bytes);

// Follows `frames` (whole frames, one behind the other) from `position`: salt, page number and
// running checksum of each. kDataLoss with what does not fit; `position` is where it failed then.
// Sets `commit_frame` to the last frame that ends a commit, if one does.
Status FollowFrames(std::span<const std::byte> frames, WalPosition* position,
                    std::uint32_t* commit_frame);

// "2026-11-22 03:35:35.012 UTC" for messages.
std::string TimeText(std::int64_t unix_us);
// "1795318535:812": generation and frame.
std::string LsnText(Lsn lsn);

}  // namespace capstan::writers
