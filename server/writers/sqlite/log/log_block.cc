#include "server/writers/sqlite/log/log_block.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "server/writers/sqlite/log/page_hash.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kMagic = 0x474c5343;  // "CSLG"
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kHashedBytes = kLogBlockHeaderBytes - 8;

// Numbers are little endian.
class Cursor {
 public:
  explicit Cursor(std::byte* bytes) : bytes_(bytes) {}
  template <typename T>
  void Put(T value) {
    std::memcpy(bytes_, &value, sizeof value);
    bytes_ += sizeof value;
  }

 private:
  std::byte* bytes_;
};

template <typename T>
T Take(const std::byte*& bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  bytes += sizeof value;
  return value;
}

Status Damaged(std::string_view what) {
  return Error(Code::kDataLoss, "a block of log has {}", what);
}

}  // namespace

LogBlockBytes EncodeLogBlock(const LogBlock& block) {
  LogBlockBytes bytes{};
  Cursor to(bytes.data());
  to.Put(kMagic);
  to.Put(kVersion);
  to.Put(static_cast<std::uint16_t>(block.kind));
  to.Put(block.end.page_size);
  to.Put(block.frame_count);
  to.Put(block.end.generation);
  to.Put(block.end.frame);
  to.Put(block.commit_frame);
  to.Put(static_cast<std::uint32_t>(block.end.order));
  to.Put(block.end.salt);
  to.Put(block.end.checksum.first);
  to.Put(block.end.checksum.second);
  to.Put(block.time_unix_us);
  to.Put(block.payload_bytes);
  to.Put(block.file_mtime_ns);
  to.Put(block.file_size);
  to.Put(block.payload_hash);
  to.Put(HashBytes(std::span(bytes).first(kHashedBytes)));
  return bytes;
}

Result<LogBlock> DecodeLogBlock(std::span<const std::byte, kLogBlockHeaderBytes> bytes) {
  const std::byte* from = bytes.data();
  if (Take<std::uint32_t>(from) != kMagic) {
    return Damaged("an unknown signature");
  }
  if (Take<std::uint16_t>(from) != kVersion) {
    return Damaged("an unknown version");
  }
  const std::byte* hash = bytes.data() + kHashedBytes;
  if (Take<std::uint64_t>(hash) != HashBytes(bytes.first(kHashedBytes))) {
    return Damaged("a wrong hash of its header");
  }
  LogBlock block;
  block.kind = static_cast<LogBlockKind>(Take<std::uint16_t>(from));
  block.end.page_size = Take<std::uint32_t>(from);
  block.frame_count = Take<std::uint32_t>(from);
  block.end.generation = Take<std::uint32_t>(from);
  block.end.frame = Take<std::uint32_t>(from);
  block.commit_frame = Take<std::uint32_t>(from);
  block.end.order =
      Take<std::uint32_t>(from) == 0 ? ChecksumOrder::kLittleEndian : ChecksumOrder::kBigEndian;
  block.end.salt = Take<WalSalt>(from);
  block.end.checksum.first = Take<std::uint32_t>(from);
  block.end.checksum.second = Take<std::uint32_t>(from);
  block.time_unix_us = Take<std::int64_t>(from);
  block.payload_bytes = Take<std::uint64_t>(from);
  block.file_mtime_ns = Take<std::int64_t>(from);
  block.file_size = Take<std::uint64_t>(from);
  block.payload_hash = Take<std::uint64_t>(from);
  const bool frames = block.kind == LogBlockKind::kFrames;
  if (block.kind < LogBlockKind::kBegin || block.kind > LogBlockKind::kEnd ||
      block.frame_count > block.end.frame || (block.frame_count != 0) != frames ||
      block.payload_bytes != std::uint64_t{block.frame_count} * block.frame_bytes() ||
      block.payload_bytes > kLogBlockPayloadMax || block.commit_frame > block.end.frame) {
    return Damaged("fields that contradict each other");
  }
  return block;
}

Status CheckPayload(const LogBlock& block, std::span<const std::byte> payload) {
  return payload.empty() || HashBytes(payload) == block.payload_hash ? OkStatus()
                                                                     : Damaged("a wrong hash");
}

WalFrame ReadFrameHeader(const std::byte* bytes) {
  return {.page_number = LoadBigEndian32(bytes), .commit_page_count = LoadBigEndian32(bytes + 4)};
}

Status FollowFrames(std::span<const std::byte> frames, WalPosition* position,
                    std::uint32_t* commit_frame) {
  const std::size_t stride = position->page_size + kSqliteFrameHeaderBytes;
  for (std::size_t at = 0; at + stride <= frames.size(); at += stride) {
    const std::byte* const header = &frames[at];
    const WalFrame frame = ReadFrameHeader(header);
    const std::uint32_t number = position->frame + 1;
    if (!std::equal(position->salt.begin(), position->salt.end(), header + 8)) {
      return Error(Code::kDataLoss, "frame {} of the WAL has the salt of another generation",
                   number);
    }
    WalChecksum checksum =
        ExtendWalChecksum(position->checksum, frames.subspan(at, 8), position->order);
    checksum = ExtendWalChecksum(checksum,
                                 frames.subspan(at + kSqliteFrameHeaderBytes, position->page_size),
                                 position->order);
    if (frame.page_number == 0 ||
        checksum != WalChecksum{LoadBigEndian32(header + 16), LoadBigEndian32(header + 20)}) {
      return Error(Code::kDataLoss, "frame {} of the WAL has a wrong checksum", number);
    }
    position->frame = number;
    position->checksum = checksum;
    if (frame.commit_page_count != 0) {
      *commit_frame = number;
    }
  }
  return OkStatus();
}

std::string TimeText(std::int64_t unix_us) {
  const std::time_t seconds = static_cast<std::time_t>(unix_us / 1000000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03} UTC", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     unix_us / 1000 % 1000);
}

std::string LsnText(Lsn lsn) {
  return fmt::format("{}:{}", lsn.value >> 32, lsn.value & 0xffffffff);
}

}  // namespace capstan::writers
