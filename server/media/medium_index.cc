#include "server/media/medium_index.h"

#include <algorithm>
#include <limits>

#include "server/media/block_composer.h"
#include "server/media/filemark_trail.h"

namespace capstan::media {
namespace {

constexpr std::size_t kMarksMax = 2 * std::size_t{std::numeric_limits<std::uint16_t>::max()} + 1;

// The filemark that stands at `offset`, and what it lists. Nothing if there is none. `next`, if not
// null, gets what the one behind it will list.
Result<std::optional<Filemarks>> ReadMark(MediumSource& source, const MediumBeginning& beginning,
                                          std::uint64_t offset, Filemarks* next) {
  const MediumForm& form = beginning.form;
  ByteVector bytes(form.filemark_size());
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source.ReadAt(offset, std::span(bytes)));
  if (filled != bytes.size()) {
    return std::optional<Filemarks>();
  }
  std::optional<Filemarks> listed = ListedFilemarks(bytes);
  FilemarkTrail trail(form);
  const bool right = listed && trail.AdoptForeign(bytes, offset) &&
                     (beginning.foreign || FilemarkTrail(form, *listed).Pass(bytes, offset));
  if (!right) {
    return std::optional<Filemarks>();
  }
  if (next != nullptr) {
    *next = trail.marks();
  }
  return listed;
}

Result<std::optional<MediumIndex>> ReadWith(MediumSource& source,
                                            const MediumBeginning& beginning) {
  const MediumForm& form = beginning.form;
  const std::uint64_t last = source.size_bytes() - form.filemark_size();
  MediumIndex index{.form = form, .offsets = {last}, .filemarks = {}};
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<Filemarks> listed,
                           ReadMark(source, beginning, last, &index.filemarks));
  while (listed && index.offsets.back() != beginning.first_mark) {
    for (std::size_t i = listed->places.size(); i-- > 0;) {
      const std::uint64_t place = std::uint64_t{listed->places[i]} * form.address_unit;
      if (place >= index.offsets.back() || place < beginning.first_mark) {
        return std::optional<MediumIndex>();
      }
      index.offsets.push_back(place);
    }
    if (listed->places.empty() || index.offsets.size() > kMarksMax) {
      return std::optional<MediumIndex>();
    }
    if (index.offsets.back() != beginning.first_mark) {
      CAPSTAN_ASSIGN_OR_RETURN(listed, ReadMark(source, beginning, index.offsets.back(), nullptr));
    }
  }
  if (!listed) {
    return std::optional<MediumIndex>();
  }
  std::reverse(index.offsets.begin(), index.offsets.end());
  return std::optional(std::move(index));
}

}  // namespace

Result<std::optional<MediumIndex>> ReadMediumIndex(MediumSource& source,
                                                   const MediumBeginning& beginning) {
  const std::uint64_t size = source.size_bytes();
  const std::uint32_t mark_size = beginning.form.filemark_size();
  if (mark_size < 512 || size < beginning.first_mark + mark_size || size % mark_size != 0) {
    return std::optional<MediumIndex>();
  }
  MediumBeginning attempt = beginning;
  attempt.form.address_unit = mark_size;
  CAPSTAN_ASSIGN_OR_RETURN(std::optional<MediumIndex> index, ReadWith(source, attempt));
  if (!index && beginning.foreign) {
    attempt.form.address_unit = 1;  // some writers count bytes
    CAPSTAN_ASSIGN_OR_RETURN(index, ReadWith(source, attempt));
  }
  return index;
}

}  // namespace capstan::media
