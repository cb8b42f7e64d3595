#include "server/writers/postgres/extent_plan.h"

#include <algorithm>
#include <utility>

#include "server/writers/positioned_io.h"
#include "vdi/base/check.h"

namespace capstan::writers {
namespace {

Status ReadFile(const BackupFile& file, std::uint64_t offset, std::span<std::byte> target) {
  if (!file.content.empty()) {
    std::ranges::copy(
        std::span(file.content).subspan(static_cast<std::size_t>(offset), target.size()),
        target.begin());
    return OkStatus();
  }
  return Annotate(ReadOrZero(file.fd.get(), offset, target), file.physical_name);
}

}  // namespace

Status ExtentPlan::Read(std::uint32_t position, std::span<std::byte> target,
                        const Verification& verification) const {
  CAPSTAN_CHECK(position <= length() && target.size() <= length() - position);
  auto piece = std::ranges::upper_bound(pieces_, position, {}, &Piece::position);
  piece -= piece == pieces_.begin() ? 0 : 1;
  for (; piece != pieces_.end() && !target.empty() && position < payload_length_; ++piece) {
    const std::uint32_t skip = position - piece->position;
    const std::size_t length = std::min<std::size_t>(piece->length - skip, target.size());
    const std::span<std::byte> bytes = target.first(length);
    const std::uint64_t offset = piece->offset + skip;
    BackupFile& file = *piece->file;
    CAPSTAN_RETURN_IF_ERROR(ReadFile(file, offset, bytes));
    if (verification.verifier != nullptr && file.relation) {
      CAPSTAN_RETURN_IF_ERROR(verification.verifier->Check(
          {.file_id = verification.file_id,
           .physical_name = file.physical_name,
           .fd = file.fd.get(),
           .first_block = file.relation->segment * verification.relation_segment_blocks},
          offset, bytes));
    }
    if (file.page_cache) {
      file.page_cache->Done(offset, length);
    }
    position += static_cast<std::uint32_t>(length);
    target = target.subspan(length);
  }
  if (!target.empty()) {
    const auto rest = std::span(directory_).subspan(position - payload_length_, target.size());
    std::ranges::copy(rest, target.begin());
  }
  return OkStatus();
}

bool ExtentPlanner::Add(FileStretch* stretch) {
  BackupFile& file = *stretch->file;
  const std::optional<std::uint32_t> room = builder_.RoomFor(file.path);
  if (!room || entry_count_ == kPiecesMax) {
    return false;
  }
  std::uint64_t length = stretch->length;
  if (!stretch->zeros && length > *room) {
    // Whole pages where they fit, so that each is judged in one piece.
    length = *room >= page_bytes_ ? *room - *room % page_bytes_ : *room;
    if (length == 0 || (length < page_bytes_ && !empty())) {
      return false;
    }
  }
  builder_.Add({.kind = file.is_manifest ? BundleEntry::Kind::kManifest
                        : stretch->zeros ? BundleEntry::Kind::kZeros
                                         : BundleEntry::Kind::kFile,
                .mode = file.mode,
                .path = file.path,
                .offset = stretch->offset,
                .length = length});
  ++entry_count_;
  if (!stretch->zeros && length > 0) {
    plan_.pieces_.push_back({.file = stretch->file,
                             .offset = stretch->offset,
                             .length = static_cast<std::uint32_t>(length),
                             .position = plan_.payload_length_});
    plan_.payload_length_ += static_cast<std::uint32_t>(length);
    if (file.page_cache) {
      file.page_cache->Advance(stretch->offset + length - 1);
    }
  }
  stretch->offset += length;
  stretch->length -= length;
  return stretch->length == 0;
}

ExtentPlan ExtentPlanner::Finish() {
  plan_.directory_ = builder_.TakeDirectory();
  return std::move(plan_);
}

}  // namespace capstan::writers
