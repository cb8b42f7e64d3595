#include "server/media/filemark_trail.h"

#include <algorithm>
#include <cstring>

#include "server/media/mtf_layout.h"
#include "server/media/set_composer.h"

namespace capstan::media {
namespace {

constexpr std::size_t kTailSize = 3 * kPhysicalBlock;  // filemark EOTM filemark

}  // namespace

bool FilemarkTrail::Pass(Bytes block, std::uint64_t offset) {
  const auto own_block = static_cast<std::uint32_t>(offset / kPhysicalBlock);
  ByteVector expected;
  AppendFilemark(&expected, mark_count_ + 1, own_block, marks_);
  if (offset % kPhysicalBlock != 0 ||
      !std::equal(block.begin(), block.end(), expected.begin(), expected.end())) {
    return false;
  }
  if (marks_.size() == kFilemarkCapacity) {
    marks_.erase(marks_.begin());
  }
  marks_.push_back(own_block);
  ++mark_count_;
  return true;
}

bool FilemarkTrail::Adopt(Bytes block, std::uint64_t offset) {
  const auto own_block = static_cast<std::uint32_t>(offset / kPhysicalBlock);
  if (offset % kPhysicalBlock != 0 || block.size() != kPhysicalBlock) {
    return false;
  }
  const auto mark = LoadStruct<SoftFilemarkHeader>(block);
  if (mark.header.fla != own_block || mark.used > kFilemarkCapacity ||
      mark.header.control_block_id <= mark_count_) {
    return false;
  }
  marks_.resize(mark.used);
  std::memcpy(marks_.data(), block.data() + sizeof(mark), mark.used * sizeof(std::uint32_t));
  std::reverse(marks_.begin(), marks_.end());  // nearest first on the medium
  mark_count_ = mark.header.control_block_id - 1;
  return Pass(block, offset);
}

void FilemarkTrail::KeepTail(Bytes chunk) {
  AppendBytes(&tail_, chunk.last(std::min(chunk.size(), kTailSize)));
  if (tail_.size() > kTailSize) {
    tail_.erase(tail_.begin(), tail_.end() - static_cast<std::ptrdiff_t>(kTailSize));
  }
}

bool FilemarkTrail::EndsAsFullMedium(std::uint64_t size, const SpanStream& span) const {
  if (tail_.size() < kTailSize || size % kPhysicalBlock != 0) {
    return false;
  }
  const auto first_mark = static_cast<std::uint32_t>(size / kPhysicalBlock - 3);
  std::vector<std::uint32_t> marks = marks_;
  ByteVector expected;
  AppendFilemark(&expected, mark_count_ + 1, first_mark, marks);
  AppendBytes(&expected, ComposeEndOfMedium({}, span));
  marks.push_back(first_mark);
  AppendFilemark(&expected, mark_count_ + 2, first_mark + 2, marks);
  return tail_ == expected;
}

}  // namespace capstan::media
