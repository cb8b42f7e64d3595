#include "server/media/filemark_trail.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "server/media/mtf_layout.h"
#include "server/media/set_composer.h"

namespace capstan::media {

std::optional<Filemarks> ListedFilemarks(Bytes block) {
  if (block.size() < sizeof(SoftFilemarkHeader)) {
    return std::nullopt;
  }
  const auto mark = LoadStruct<SoftFilemarkHeader>(block);
  if (mark.header.type != BlockType::kSoftFilemark || !HeaderIsSound(mark.header) ||
      (mark.header.attributes & kFilemarkSqlLayout) != 0 ||
      mark.used > FilemarkCapacity(static_cast<std::uint32_t>(block.size()))) {
    return std::nullopt;
  }
  Filemarks marks;
  for (std::size_t i = mark.used; i-- > 0;) {
    marks.places.push_back(
        LoadStruct<std::uint32_t>(block.subspan(sizeof(mark) + i * sizeof(std::uint32_t))));
  }
  // Some writers do not number their filemarks.
  marks.count = std::max(mark.header.control_block_id, mark.used + 1) - 1;
  const bool ascending = std::adjacent_find(marks.places.begin(), marks.places.end(),
                                            std::greater_equal<>()) == marks.places.end();
  return ascending ? std::optional(std::move(marks)) : std::nullopt;
}

void FilemarkTrail::Add(std::uint64_t offset) {
  if (marks_.places.size() == FilemarkCapacity(form_.filemark_size())) {
    marks_.places.erase(marks_.places.begin());
  }
  marks_.places.push_back(static_cast<std::uint32_t>(offset / form_.address_unit));
  ++marks_.count;
}

void FilemarkTrail::Append(ByteVector* out, std::uint64_t offset) {
  ByteVector mark;
  AppendFilemark(&mark, marks_.count + 1, static_cast<std::uint32_t>(offset / form_.address_unit),
                 marks_.places, form_.filemark_size());
  AppendBytes(out, mark);
  Add(offset);
}

bool FilemarkTrail::Pass(Bytes block, std::uint64_t offset) {
  FilemarkTrail next(form_, marks_);
  ByteVector expected;
  next.Append(&expected, offset);
  if (offset % form_.address_unit != 0 ||
      !std::equal(block.begin(), block.end(), expected.begin(), expected.end())) {
    return false;
  }
  marks_ = std::move(next.marks_);
  return true;
}

bool FilemarkTrail::Adopt(Bytes block, std::uint64_t offset) {
  std::optional<Filemarks> listed = ListedFilemarks(block);
  if (!listed || listed->count < marks_.count) {
    return false;
  }
  FilemarkTrail next(form_, *std::move(listed));
  if (!next.Pass(block, offset)) {
    return false;
  }
  marks_ = std::move(next.marks_);
  return true;
}

bool FilemarkTrail::AdoptForeign(Bytes block, std::uint64_t offset) {
  std::optional<Filemarks> listed = ListedFilemarks(block);
  if (!listed || block.size() != form_.filemark_size()) {
    return false;
  }
  // A filemark states its own address: some writers count bytes.
  const bool in_bytes = LoadStruct<BlockHeader>(block).fla == offset;
  const std::uint32_t unit = in_bytes ? 1 : form_.filemark_size();
  const bool right =
      offset % unit == 0 && (listed->places.empty() || listed->places.back() < offset / unit);
  if (right) {
    form_.address_unit = unit;
    marks_ = *std::move(listed);
    Add(offset);
  }
  return right;
}

void FilemarkTrail::KeepTail(Bytes chunk) {
  const std::size_t size = 2 * form_.filemark_size() + kPhysicalBlock;  // filemark EOTM filemark
  AppendBytes(&tail_, chunk.last(std::min(chunk.size(), size)));
  if (tail_.size() > size) {
    tail_.erase(tail_.begin(), tail_.end() - static_cast<std::ptrdiff_t>(size));
  }
}

bool FilemarkTrail::EndsAsFullMedium(std::uint64_t size, const SpanStream& span) const {
  const std::size_t end_size = 2 * form_.filemark_size() + kPhysicalBlock;
  if (tail_.size() < end_size || size % form_.address_unit != 0) {
    return false;
  }
  FilemarkTrail end(form_, marks_);
  ByteVector expected;
  end.Append(&expected, size - end_size);
  AppendBytes(&expected, ComposeEndOfMedium(form_, span));
  end.Append(&expected, size - form_.filemark_size());
  return tail_ == expected;
}

}  // namespace capstan::media
