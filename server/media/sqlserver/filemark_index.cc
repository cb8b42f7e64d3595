#include "server/media/sqlserver/filemark_index.h"

#include <algorithm>

#include "server/media/block_composer.h"
#include "server/media/sqlserver/sqlserver_layout.h"

namespace capstan::media::sqlserver {
namespace {

// Two per set, of which there can be 65,535, and the first one.
constexpr std::size_t kMarksMax = 2 * 65535 + 1;

struct EntryArray {
  std::uint32_t capacity = 0;
  std::uint32_t used = 0;
  std::size_t offset = 0;
};

std::optional<EntryArray> FindArray(Bytes mark) {
  if (mark.size() < sizeof(FilemarkHeader)) {
    return std::nullopt;
  }
  const auto header = LoadStruct<FilemarkHeader>(mark);
  const BlockHeader& block = header.common.header;
  if (block.type != BlockType::kSoftFilemark || !HeaderIsSound(block)) {
    return std::nullopt;
  }
  EntryArray array{header.common.capacity, header.common.used, sizeof(header.common)};
  if ((block.attributes & kFilemarkSqlLayout) != 0) {
    array.offset = header.array_offset;
  }
  if (array.offset < sizeof(SoftFilemarkHeader) || array.offset > mark.size() ||
      array.capacity > (mark.size() - array.offset) / sizeof(std::uint64_t) ||
      array.used > array.capacity) {
    return std::nullopt;
  }
  return array;
}

bool IsExact(Bytes mark, const EntryArray& array) {
  const std::size_t end = array.offset + array.used * sizeof(std::uint64_t);
  const auto header = LoadStruct<FilemarkHeader>(mark);
  const bool sql_layout = (header.common.header.attributes & kFilemarkSqlLayout) != 0;
  return array.capacity == (mark.size() - array.offset) / sizeof(std::uint64_t) &&
         (!sql_layout || (array.offset == sizeof(FilemarkHeader) && header.unknown[0] == 0 &&
                          header.unknown[1] == 0)) &&
         AllZero(mark.subspan(end));
}

}  // namespace

std::optional<FilemarkEntries> ParseFilemark(Bytes mark) {
  const std::optional<EntryArray> array = FindArray(mark);
  if (!array) {
    return std::nullopt;
  }
  FilemarkEntries entries{.full = array->used != 0 && array->used == array->capacity,
                          .exact = IsExact(mark, *array)};
  for (std::uint32_t i = 0; i < array->used; ++i) {
    const auto offset =
        LoadStruct<std::uint64_t>(mark.subspan(array->offset + i * sizeof(std::uint64_t)));
    if (!entries.offsets.empty() && offset >= entries.offsets.back()) {
      return std::nullopt;
    }
    entries.offsets.push_back(offset);
  }
  return entries;
}

Result<std::optional<std::vector<std::uint64_t>>> ReadFilemarks(MediumSource& source,
                                                                std::uint32_t mark_size) {
  const std::uint64_t size = source.size_bytes();
  std::vector<std::uint64_t> marks;
  if (mark_size < sizeof(FilemarkHeader) || size < 2 * std::uint64_t{mark_size}) {
    return std::optional<std::vector<std::uint64_t>>();
  }
  ByteVector bytes(mark_size);
  marks.push_back(size - mark_size);
  bool more = true;
  while (more && marks.size() < kMarksMax) {
    const std::uint64_t own = marks.back();
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source.ReadAt(own, bytes));
    const std::optional<FilemarkEntries> entries =
        ParseFilemark(Bytes(bytes).first(std::min<std::size_t>(filled, mark_size)));
    const bool fits =
        entries && (entries->offsets.empty() || entries->offsets.front() + mark_size <= own);
    if (!fits) {
      return std::optional<std::vector<std::uint64_t>>();
    }
    marks.insert(marks.end(), entries->offsets.begin(), entries->offsets.end());
    more = entries->full;
  }
  std::reverse(marks.begin(), marks.end());
  const bool in_pairs = !more && marks.size() % 2 == 1;
  return in_pairs ? std::optional(std::move(marks)) : std::nullopt;
}

}  // namespace capstan::media::sqlserver
