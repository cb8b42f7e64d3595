#include "server/media/medium_index.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "server/media/block_composer.h"
#include "server/media/filemark_trail.h"

namespace capstan::media {
namespace {

constexpr std::size_t kMarksMax = 2 * std::size_t{std::numeric_limits<std::uint16_t>::max()} + 1;

// The filemark that stands at `offset`: what it lists, and the trail behind it.
struct Mark {
  Filemarks listed;
  FilemarkTrail trail;
};

Result<std::optional<Mark>> ReadMark(MediumSource& source, const MediumBeginning& beginning,
                                     std::uint64_t offset) {
  const MediumForm& form = beginning.form;
  ByteVector bytes(form.filemark_size());
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source.ReadAt(offset, std::span(bytes)));
  if (filled != bytes.size()) {
    return std::optional<Mark>();
  }
  FilemarkTrail trail(form);
  const bool right =
      beginning.foreign ? trail.AdoptForeign(bytes, offset) : trail.Adopt(bytes, offset);
  return right ? std::optional(Mark{.listed = *ListedFilemarks(bytes), .trail = std::move(trail)})
               : std::nullopt;
}

}  // namespace

Result<std::optional<MediumIndex>> ReadMediumIndex(MediumSource& source,
                                                   const MediumBeginning& beginning) {
  const std::uint64_t size = source.size_bytes();
  const std::uint32_t mark_size = beginning.form.filemark_size();
  if (mark_size < 512 || size < beginning.first_mark + mark_size || size % mark_size != 0) {
    return std::optional<MediumIndex>();
  }
  const std::uint64_t last = size - mark_size;
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<Mark> mark, ReadMark(source, beginning, last));
  if (!mark) {
    return std::optional<MediumIndex>();
  }
  MediumIndex index{
      .form = mark->trail.form(), .offsets = {last}, .filemarks = mark->trail.marks()};
  while (index.offsets.back() != beginning.first_mark) {
    const std::vector<std::uint32_t>& places = mark->listed.places;
    for (std::size_t i = places.size(); i-- > 0;) {
      const std::uint64_t place = std::uint64_t{places[i]} * index.form.address_unit;
      if (place >= index.offsets.back() || place < beginning.first_mark) {
        return std::optional<MediumIndex>();
      }
      index.offsets.push_back(place);
    }
    if (places.empty() || index.offsets.size() > kMarksMax) {
      return std::optional<MediumIndex>();
    }
    if (index.offsets.back() != beginning.first_mark) {
      CAPSTAN_ASSIGN_OR_RETURN(mark, ReadMark(source, beginning, index.offsets.back()));
      if (!mark) {
        return std::optional<MediumIndex>();
      }
    }
  }
  std::reverse(index.offsets.begin(), index.offsets.end());
  return std::optional(std::move(index));
}

}  // namespace capstan::media
