#include "server/media/sqlserver/page_data.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "server/media/sqlserver/sqlserver_layout.h"

namespace capstan::media::sqlserver {
namespace {

constexpr std::size_t kExtentSize = kPageSize * kPagesPerExtent;
constexpr std::uint8_t kPageVersion = 1;

// Hands `bytes` to `take` in units of `size`; what is left over waits in `partial`.
template <typename Take>
bool InUnits(ByteVector* partial, Bytes bytes, std::size_t size, Take take) {
  if (!partial->empty()) {
    const Bytes rest = bytes.first(std::min(bytes.size(), size - partial->size()));
    AppendBytes(partial, rest);
    bytes = bytes.subspan(rest.size());
    if (partial->size() == size) {
      const bool right = take(Bytes(*partial));
      partial->clear();
      if (!right) return false;
    }
  }
  for (; bytes.size() >= size; bytes = bytes.subspan(size)) {
    if (!take(bytes.first(size))) return false;
  }
  AppendBytes(partial, bytes);
  return true;
}

}  // namespace

void SectorSum::AddSector(Bytes sector) {
  std::uint64_t wide = 0;
  for (std::size_t at = 0; at < sector.size(); at += sizeof(wide)) {
    wide ^= LoadStruct<std::uint64_t>(sector.subspan(at));
  }
  sum_ = std::rotl(sum_, 1) ^ static_cast<std::uint32_t>(wide) ^
         static_cast<std::uint32_t>(wide >> 32);
}

void SectorSum::Add(Bytes bytes) {
  InUnits(&partial_, bytes, kSumSector, [this](Bytes sector) {
    AddSector(sector);
    return true;
  });
}

std::uint32_t SectorSum::Finish() {
  if (!partial_.empty()) {
    partial_.resize(kSumSector);
    AddSector(partial_);
  }
  const std::uint32_t sum = sum_;
  *this = SectorSum();
  return sum;
}

ExtentCheck::ExtentCheck(const std::vector<FileFacts>& files) {
  for (const FileFacts& file : files) {
    if (file.type != 'L') {
      file_ids_.insert(static_cast<std::uint32_t>(file.file_id.value_or(0)));
    }
  }
}

bool ExtentCheck::Add(Bytes bytes) {
  return InUnits(&partial_, bytes, kExtentSize,
                 [this](Bytes extent) { return CheckExtent(extent); });
}

bool ExtentCheck::CheckExtent(Bytes extent) {
  bool in_place = false;
  bool out_of_place = false;
  for (std::uint32_t i = 0; i < kPagesPerExtent; ++i) {
    const auto page = LoadStruct<PageHead>(extent.subspan(i * kPageSize));
    if (page.version != kPageVersion || !file_ids_.contains(std::uint32_t{page.file_id})) {
      continue;
    }
    const bool is_here = page.page_id % kPagesPerExtent == i;
    in_place = in_place || is_here;
    out_of_place = out_of_place || !is_here;
  }
  pages_ += kPagesPerExtent;
  return in_place || !out_of_place;
}

}  // namespace capstan::media::sqlserver
