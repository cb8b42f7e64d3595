#include "server/media/set_map.h"

#include <cstdint>

#include "server/media/mtf_layout.h"

namespace capstan::media {
namespace {

// The length that an entry at the beginning of `rest` states, if it is possible.
std::optional<std::size_t> EntryLength(Bytes rest, std::size_t size_min) {
  if (rest.size() < size_min) {
    return std::nullopt;
  }
  const auto length = LoadStruct<std::uint16_t>(rest);
  return length >= size_min && length <= rest.size() ? std::optional<std::size_t>(length)
                                                     : std::nullopt;
}

}  // namespace

std::optional<SetMap> ParseSetMap(Bytes content) {
  if (content.size() < sizeof(SetMapHeader)) {
    return std::nullopt;
  }
  const auto header = LoadStruct<SetMapHeader>(content);
  Bytes rest = content.subspan(sizeof(header));
  SetMap map;
  for (std::size_t i = 0; i < header.set_count; ++i) {
    std::optional<std::size_t> size = EntryLength(rest, sizeof(SetMapEntry));
    if (!size) {
      return std::nullopt;
    }
    const std::uint16_t volumes = LoadStruct<SetMapEntry>(rest).volume_count;
    for (std::size_t volume = 0; volume < volumes; ++volume) {
      const auto length = EntryLength(rest.subspan(*size), sizeof(SetMapVolume));
      if (!length) {
        return std::nullopt;
      }
      *size += *length;
    }
    map.emplace_back(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(*size));
    rest = rest.subspan(*size);
  }
  return map;
}

}  // namespace capstan::media
