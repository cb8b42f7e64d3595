#include "server/media/sqlserver/container.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "server/media/medium_error.h"
#include "server/media/sqlserver/xpress_huffman.h"
#include "server/messages/messages.h"

namespace capstan::media::sqlserver {
namespace {

constexpr std::size_t kMagicSize = sizeof(kContainerMagic) - 1;
constexpr std::uint32_t kUnit = 512;
// More than any index has: an entry per 64 KiB of the largest medium would be a million.
constexpr std::uint32_t kIndexSizeMax = 32U << 20;

}  // namespace

bool IsContainer(Bytes start) {
  return start.size() >= kMagicSize && std::memcmp(start.data(), kContainerMagic, kMagicSize) == 0;
}

std::uint32_t RecordChecksum(Bytes payload) {
  std::uint32_t sum = 0;
  while (!payload.empty()) {
    std::uint32_t word = 0;
    const std::size_t size = std::min<std::size_t>(payload.size(), sizeof(word));
    std::memcpy(&word, payload.data(), size);
    sum = std::rotl(sum, 1) ^ word;
    payload = payload.subspan(size);
  }
  return sum;
}

Result<Bytes> RecordReader::Take(std::size_t size) {
  const std::size_t before = raw_.size();
  raw_.resize(std::max(before, size));
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled,
                           source_->ReadAt(offset_ + before, std::span(raw_).subspan(before)));
  raw_.resize(before + filled);
  if (raw_.size() < size) {
    return offset_ == kFirstRecord ? CutOffInHead(source_->device_name(), source_->size_bytes())
                                   : CutOffInSet(source_->device_name(), offset_ + raw_.size());
  }
  return Bytes(raw_).first(size);
}

Result<ContainerPiece> RecordReader::Next() {
  while (true) {
    raw_.clear();
    Result<Bytes> head = Take(sizeof(ContainerRecord));
    if (!head.ok()) {
      return raw_.empty() && offset_ > kFirstRecord ? Result(ContainerPiece{.offset = offset_})
                                                    : head.status();
    }
    const auto record = LoadStruct<ContainerRecord>(*head);
    if (LoadStruct<BlockType>(*head) == BlockType::kSoftFilemark) {
      return TakeFilemark();
    }
    switch (record.type) {
      case RecordType::kCompressed:
        return TakeCompressed(record);
      case RecordType::kFiller:
        offset_ += sizeof(record) + record.size;
        break;
      case RecordType::kIndex:
        CAPSTAN_RETURN_IF_ERROR(SkipIndex());
        break;
      default:
        if (offset_ == kFirstRecord) {
          return SqlError(3239, source_->device_name())
              .WithHint(
                  "it is a container of SQL Server whose records are not known; what is encrypted "
                  "only SQL Server can read");
        }
        return MediumDamaged(source_->device_name(), offset_, "record of the container");
    }
  }
}

Result<ContainerPiece> RecordReader::TakeCompressed(const ContainerRecord& record) {
  const std::size_t plain_size = record.units * kUnit;
  if (plain_size == 0 || plain_size > kXpressChunkMax) {
    return MediumDamaged(source_->device_name(), offset_, "size of a record");
  }
  // What cannot be made smaller would stand as it is, its size modulo 2^16.
  const bool is_raw = record.size == plain_size % 65536;
  const std::size_t packed_size = is_raw ? plain_size : record.size;
  constexpr std::size_t kHead = sizeof(ContainerRecord) + sizeof(std::uint32_t);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, Take(kHead + packed_size));
  const Bytes payload = bytes.subspan(kHead);
  if (LoadStruct<std::uint32_t>(bytes.subspan(sizeof(record))) != RecordChecksum(payload)) {
    return MediumDamaged(source_->device_name(), offset_, "checksum of a record");
  }
  unpacked_.resize(plain_size);
  if (is_raw) {
    std::copy(payload.begin(), payload.end(), unpacked_.begin());
  } else if (!DecompressXpressHuffman(payload, unpacked_)) {
    return MediumDamaged(source_->device_name(), offset_, "compressed data of a record");
  }
  const ContainerPiece piece{
      .kind = ContainerPiece::Kind::kBytes, .offset = offset_, .bytes = unpacked_};
  offset_ += bytes.size();
  return piece;
}

Result<ContainerPiece> RecordReader::TakeFilemark() {
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes head, Take(sizeof(BlockHeader)));
  const auto header = LoadStruct<BlockHeader>(head);
  if (!HeaderIsSound(header) || header.first_event_offset < kUnit) {
    return MediumDamaged(source_->device_name(), offset_, "filemark");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes mark, Take(header.first_event_offset));
  const ContainerPiece piece{
      .kind = ContainerPiece::Kind::kFilemark, .offset = offset_, .bytes = mark};
  offset_ += mark.size();
  return piece;
}

Status RecordReader::SkipIndex() {
  constexpr std::size_t kHead = sizeof(ContainerRecord) + sizeof(ContainerIndexHead);
  CAPSTAN_ASSIGN_OR_RETURN(const Bytes bytes, Take(kHead));
  const auto head = LoadStruct<ContainerIndexHead>(bytes.subspan(sizeof(ContainerRecord)));
  if (head.size > kIndexSizeMax ||
      head.size < 2 * sizeof(ContainerIndexHead) +
                      std::uint64_t{head.count} * sizeof(ContainerIndexEntry)) {
    return MediumDamaged(source_->device_name(), offset_, "index of the container");
  }
  offset_ += sizeof(ContainerRecord) + head.size;
  return OkStatus();
}

Result<std::size_t> UnpackedSource::ReadAt(std::uint64_t offset, std::span<std::byte> target) {
  std::size_t filled = 0;
  while (filled < target.size() && !ended_) {
    const std::uint64_t wanted = offset + filled;
    if (wanted < held_offset_) {
      return Error(Code::kInternal, "a container is read forward only");
    }
    if (wanted < held_offset_ + held_.size()) {
      const Bytes rest = held_.subspan(wanted - held_offset_);
      const std::size_t size = std::min(rest.size(), target.size() - filled);
      std::memcpy(target.data() + filled, rest.data(), size);
      filled += size;
      continue;
    }
    held_offset_ += held_.size();
    CAPSTAN_ASSIGN_OR_RETURN(const ContainerPiece piece, reader_.Next());
    held_ = piece.bytes;
    place_ = piece.offset;
    ended_ = piece.kind == ContainerPiece::Kind::kEnd;
  }
  return filled;
}

}  // namespace capstan::media::sqlserver
