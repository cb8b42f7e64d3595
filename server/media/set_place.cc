#include <cstring>
#include <optional>
#include <vector>

#include "server/media/block_composer.h"
#include "server/media/family_reader.h"
#include "server/media/medium_error.h"
#include "server/messages/messages.h"

namespace capstan::media {
namespace {

// A soft filemark and those that it lists.
struct Filemark {
  std::uint32_t number = 0;             // from 1
  std::vector<std::uint32_t> previous;  // physical blocks, nearest first
};

Result<std::optional<Filemark>> ReadFilemark(MediumSource& source, std::uint64_t physical_block) {
  ByteVector bytes(kPhysicalBlock);
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled,
                           source.ReadAt(physical_block * kPhysicalBlock, std::span(bytes)));
  const auto mark = LoadStruct<SoftFilemarkHeader>(bytes);
  if (filled != bytes.size() || mark.header.type != BlockType::kSoftFilemark ||
      !HeaderIsSound(mark.header) || mark.header.fla != physical_block ||
      mark.used > kFilemarkCapacity || mark.header.control_block_id <= mark.used) {
    return std::optional<Filemark>();
  }
  Filemark filemark{.number = mark.header.control_block_id, .previous = {}};
  filemark.previous.resize(mark.used);
  std::memcpy(filemark.previous.data(), bytes.data() + sizeof(mark),
              mark.used * sizeof(std::uint32_t));
  return std::optional(std::move(filemark));
}

}  // namespace

Result<SetPlace> FindSet(MediumSource& source, std::uint16_t position) {
  const std::uint64_t size = source.size_bytes();
  // Set n stands between marks 2n - 1 and 2n, and its end behind that.
  const std::uint32_t begin_number = 2U * position - 1;
  const std::uint32_t end_number = begin_number + 1;
  std::uint64_t at = size / kPhysicalBlock - (size < kPhysicalBlock ? 0 : 1);
  std::optional<std::uint64_t> begin;
  std::optional<std::uint64_t> end;
  while (size % kPhysicalBlock == 0 && size > 0) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<Filemark> mark, ReadFilemark(source, at));
    if (!mark) {
      break;
    }
    if (mark->number <= end_number && !end) {
      return SqlError(3287, position, source.device_name());
    }
    std::uint32_t number = mark->number;
    const std::uint64_t from = at;
    for (const std::uint32_t block : mark->previous) {
      --number;
      if (block >= at) {
        return MediumDamaged(source.device_name(), from * kPhysicalBlock, "filemark");
      }
      at = block;
      end = number == end_number ? block : end;
      begin = number == begin_number ? block : begin;
    }
    if (begin && end) {
      return SetPlace{.set_offset = (*begin + 1) * kPhysicalBlock,
                      .end_offset = *end * kPhysicalBlock};
    }
    if (mark->previous.empty()) {
      break;
    }
  }
  return MediumDamaged(source.device_name(), size, "place of the backup set");
}

}  // namespace capstan::media
