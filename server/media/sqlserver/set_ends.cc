#include "server/media/sqlserver/set_ends.h"

#include <algorithm>
#include <vector>

#include "server/media/sqlserver/container.h"
#include "server/media/sqlserver/sqlserver_layout.h"

namespace capstan::media::sqlserver {
namespace {

constexpr std::size_t kHeadSize = 64 << 10;
constexpr std::uint64_t kTailSizeFirst = 64 << 10;

// The last bytes of a set, up to its filemark.
struct SetTail {
  ByteVector bytes;
  std::uint64_t offset = 0;  // of the first one, from the SSET
  bool whole = false;        // there is no more in front of them
};

Result<ByteVector> ReadRange(MediumSource& source, std::uint64_t offset, std::uint64_t size) {
  ByteVector bytes(size);
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source.ReadAt(offset, bytes));
  bytes.resize(filled);
  return bytes;
}

// Of the records from `offset` on until a filemark or `size_max` bytes.
Result<ByteVector> Unpack(MediumSource& source, std::uint64_t offset, std::uint64_t size_max) {
  RecordReader reader(&source, offset);
  ByteVector bytes;
  while (bytes.size() < size_max) {
    CAPSTAN_ASSIGN_OR_RETURN(const ContainerPiece piece, reader.Next());
    if (piece.kind != ContainerPiece::Kind::kBytes) {
      break;
    }
    AppendBytes(&bytes, piece.bytes);
  }
  return bytes;
}

// The index in front of the set's filemark, found by the copy of its head that ends it; empty if
// there is none.
Result<std::vector<ContainerIndexEntry>> ReadIndex(MediumSource& source, const SetPlace& place) {
  std::vector<ContainerIndexEntry> entries;
  if (place.filemark < place.begin + 2 * sizeof(ContainerIndexHead)) {
    return entries;
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      const ByteVector copy,
      ReadRange(source, place.filemark - sizeof(ContainerIndexHead), sizeof(ContainerIndexHead)));
  if (copy.size() < sizeof(ContainerIndexHead)) {
    return entries;
  }
  const auto head = LoadStruct<ContainerIndexHead>(copy);
  if (head.size < 2 * sizeof(ContainerIndexHead) || head.size > place.filemark - place.begin ||
      head.count > (head.size - 2 * sizeof(ContainerIndexHead)) / sizeof(ContainerIndexEntry)) {
    return entries;
  }
  // Only the last ones: a configuration is no longer than they reach.
  constexpr std::uint32_t kEntriesMax = 1024;
  const std::uint32_t left_out = head.count - std::min(head.count, kEntriesMax);
  const std::uint64_t first = place.filemark - head.size + sizeof(ContainerIndexHead) +
                              left_out * sizeof(ContainerIndexEntry);
  CAPSTAN_ASSIGN_OR_RETURN(
      const ByteVector bytes,
      ReadRange(source, first, (head.count - left_out) * sizeof(ContainerIndexEntry)));
  for (std::size_t at = 0; at + sizeof(ContainerIndexEntry) <= bytes.size();
       at += sizeof(ContainerIndexEntry)) {
    const auto entry = LoadStruct<ContainerIndexEntry>(Bytes(bytes).subspan(at));
    if (entry.file_offset < place.begin || entry.file_offset >= place.filemark) {
      return std::vector<ContainerIndexEntry>();
    }
    entries.push_back(entry);
  }
  return entries;
}

Status UnpackTail(MediumSource& source, const ContainerIndexEntry& from, SetTail* tail) {
  CAPSTAN_ASSIGN_OR_RETURN(tail->bytes, Unpack(source, from.file_offset, kConfigurationMax));
  tail->offset = from.set_offset;
  return OkStatus();
}

// At least `size` bytes, if the set has as many.
Result<SetTail> ReadTail(MediumSource& source, const SetPlace& place, std::uint64_t size) {
  SetTail tail;
  if (!place.in_container) {
    const std::uint64_t length = std::min(size, place.filemark - place.begin);
    tail.offset = place.filemark - place.begin - length;
    tail.whole = tail.offset == 0;
    CAPSTAN_ASSIGN_OR_RETURN(tail.bytes, ReadRange(source, place.filemark - length, length));
    return tail;
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<ContainerIndexEntry> entries,
                           ReadIndex(source, place));
  tail.whole = true;
  if (entries.empty()) {
    return tail;
  }
  // Where the set ends shows only from its last records.
  std::size_t from = entries.size() - 1;
  CAPSTAN_RETURN_IF_ERROR(UnpackTail(source, entries[from], &tail));
  const std::uint64_t end = tail.offset + tail.bytes.size();
  while (from > 0 && end - std::min(end, entries[from].set_offset) < size) {
    --from;
  }
  if (from + 1 < entries.size()) {
    CAPSTAN_RETURN_IF_ERROR(UnpackTail(source, entries[from], &tail));
  }
  tail.whole = from == 0;
  return tail;
}

// The MQCI of the block at `at`, if it is an MSLS whose streams end with the tail.
std::optional<Bytes> ConfigurationAt(Bytes tail, std::uint64_t at) {
  if (tail.size() - at < sizeof(BlockHeader)) {
    return std::nullopt;
  }
  const auto block = LoadStruct<BlockHeader>(tail.subspan(at));
  if (block.type != kConfigurationEnd || !HeaderIsSound(block)) {
    return std::nullopt;
  }
  std::optional<Bytes> content;
  std::uint64_t position = at + block.first_event_offset;
  while (position + sizeof(StreamHeader) <= tail.size()) {
    const auto stream = LoadStruct<StreamHeader>(tail.subspan(position));
    position += sizeof(StreamHeader);
    if (!HeaderIsSound(stream) || stream.length > tail.size() - position) {
      return std::nullopt;
    }
    if (stream.type == kConfiguration) {
      content = tail.subspan(position, stream.length);
    }
    if (stream.type == StreamType::kPad) {
      return position + stream.length == tail.size() ? content : std::nullopt;
    }
    position = at + RoundUp(position + stream.length - at, 4);
  }
  return std::nullopt;
}

}  // namespace

Result<ByteVector> ReadSetHead(MediumSource& source, const SetPlace& place) {
  if (place.in_container) {
    return Unpack(source, place.begin, kHeadSize);
  }
  return ReadRange(source, place.begin,
                   std::min<std::uint64_t>(kHeadSize, place.filemark - place.begin));
}

Result<std::optional<ByteVector>> ReadFinalConfiguration(MediumSource& source,
                                                         const SetPlace& place) {
  for (std::uint64_t size = kTailSizeFirst; size <= kConfigurationMax; size *= 8) {
    CAPSTAN_ASSIGN_OR_RETURN(const SetTail tail, ReadTail(source, place, size));
    const std::uint64_t end = tail.offset + tail.bytes.size();
    for (std::uint64_t at = end / place.block_size * place.block_size; at >= tail.offset;
         at -= place.block_size) {
      if (const auto content = ConfigurationAt(tail.bytes, at - tail.offset)) {
        return std::optional(ByteVector(content->begin(), content->end()));
      }
      if (at < place.block_size) {
        break;
      }
    }
    if (tail.whole) {
      break;
    }
  }
  return std::optional<ByteVector>();
}

Result<bool> HasTrailer(MediumSource& source, const SetPlace& place) {
  ByteVector bytes;
  if (place.in_container) {
    CAPSTAN_ASSIGN_OR_RETURN(bytes, Unpack(source, place.trailer, sizeof(BlockHeader)));
  } else {
    CAPSTAN_ASSIGN_OR_RETURN(bytes, ReadRange(source, place.trailer, sizeof(BlockHeader)));
  }
  if (bytes.size() < sizeof(BlockHeader)) {
    return false;
  }
  const auto header = LoadStruct<BlockHeader>(bytes);
  return header.type == BlockType::kEndOfSet && HeaderIsSound(header);
}

}  // namespace capstan::media::sqlserver
