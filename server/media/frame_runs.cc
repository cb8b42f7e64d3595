#include "server/media/frame_runs.h"

#include <algorithm>

#include "server/media/frame.h"
#include "server/media/medium_error.h"
#include "server/media/payload_form.h"

namespace capstan::media {
namespace {

constexpr std::size_t kRunsMax = 1000;       // of one set; the last one takes what follows
constexpr std::uint64_t kIndexBatch = 2048;  // entries
constexpr char kVoidRemark[] = "read anew when the backup was gone on with";

// Void frames go together, whatever file they once were of.
bool BelongsTo(const FrameExtent& extent, const MapPiece& run) {
  if (extent.is_void() || run.kind == PieceKind::kVoidFrames) {
    return extent.is_void() == (run.kind == PieceKind::kVoidFrames);
  }
  return !run.range || run.range->file_index == extent.file_index;
}

std::optional<FileRange> RangeOf(const FrameExtent& extent) {
  if (extent.is_void()) {
    return std::nullopt;
  }
  return FileRange{
      .file_index = extent.file_index, .begin = extent.file_offset, .end = extent.file_offset};
}

void AddFrame(const FrameExtent& extent, std::uint64_t frame_size, FrameRuns* found) {
  const bool begins = found->runs.empty() || !BelongsTo(extent, found->runs.back());
  if (begins && found->runs.size() < kRunsMax) {
    found->runs.push_back({.kind = extent.is_void() ? PieceKind::kVoidFrames : PieceKind::kFrames,
                           .offset = found->size,
                           .size = 0,
                           .set = {},
                           .frames = 0,
                           .payload_bytes = 0,
                           .stored_bytes = 0,
                           .range = RangeOf(extent),
                           .remark = extent.is_void() ? kVoidRemark : ""});
  } else if (begins) {
    MapPiece& rest = found->runs.back();
    rest.kind = PieceKind::kFrames;
    rest.range.reset();
    rest.remark.clear();
  }
  MapPiece& run = found->runs.back();
  *run.size += frame_size;
  *run.frames += 1;
  *run.payload_bytes += extent.length;
  *run.stored_bytes += extent.payload_size();
  if (run.range && !extent.is_void()) {
    run.range->begin = std::min(run.range->begin, extent.file_offset);
    run.range->end = std::max(run.range->end, extent.file_offset + extent.length);
  }
  found->size += frame_size;
}

// Reads the entries of an index.
class IndexReader {
 public:
  IndexReader(MediumSource* source, const SetListing* set) : source_(source), set_(set) {}

  // Nothing if the stream cannot be an index of the set.
  Result<std::optional<FrameRuns>> Read(const StreamPosition& stream, FamilySummary* seen) {
    const std::optional<PayloadForm> form = PayloadFormOf(set_->set);
    const std::size_t entry_size = IndexRecord::SizeOf(packed());
    constexpr std::uint64_t kAround = sizeof(FrameIndexStream) + sizeof(StreamSeal);
    const std::uint64_t length = stream.header.length;
    if (!form || length < kAround || (length - kAround) % entry_size != 0) {
      return std::optional<FrameRuns>();
    }
    const std::uint32_t around_payload = packed() ? 0 : form->lead() + form->tail();
    seen->frame_count = (length - kAround) / entry_size;
    std::uint64_t at = stream.data_offset + sizeof(FrameIndexStream);
    FrameRuns found;
    ByteVector batch;
    for (std::uint64_t left = seen->frame_count; left > 0; at += batch.size()) {
      const std::uint64_t entries = std::min(left, kIndexBatch);
      batch.resize(entries * entry_size);
      CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source_->ReadAt(at, batch));
      if (filled < batch.size()) {
        return std::optional<FrameRuns>();
      }
      seen->digest = Crc32c(seen->digest, batch);
      for (std::size_t entry = 0; entry < batch.size(); entry += entry_size) {
        const Bytes record = Bytes(batch).subspan(entry, entry_size);
        AddFrame(ExtentOf(record, around_payload), FrameSizeOf(record), &found);
      }
      left -= entries;
    }
    return std::optional(std::move(found));
  }

 private:
  bool packed() const { return set_->set.compressed(); }
  std::uint64_t FrameSizeOf(Bytes record) const {
    return packed() ? LoadStruct<PackedIndexEntry>(record).frame_size : set_->set.transfer_size;
  }

  MediumSource* const source_;
  const SetListing* const set_;
};

// CPIX on the ESETs from the cursor on; nothing if there is none.
Result<std::optional<StreamPosition>> FindIndex(BlockCursor* cursor) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<BlockPosition> block,
                           NothingIfDamaged(cursor->NextBlock()));
  while (block && block->header.type == BlockType::kEndOfSet) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<StreamPosition> stream,
                             NothingIfDamaged(cursor->NextStream()));
    if (!stream || stream->header.type == StreamType::kFrameIndex) {
      return stream;
    }
  }
  return std::optional<StreamPosition>();
}

}  // namespace

Result<std::optional<FrameRuns>> ReadFrameRuns(MediumSource& source, BlockCursor end,
                                               const SetListing& set, std::uint16_t family_number) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::optional<StreamPosition> index, FindIndex(&end));
  if (!index) {
    return std::optional<FrameRuns>();
  }
  FamilySummary seen;
  Result<std::optional<FrameRuns>> runs = IndexReader(&source, &set).Read(*index, &seen);
  const bool right =
      std::any_of(set.families.begin(), set.families.end(), [&](const FamilySummary& family) {
        return family.family_number == family_number && family.frame_count == seen.frame_count &&
               family.digest == seen.digest;
      });
  return right || !runs.ok() ? std::move(runs) : std::optional<FrameRuns>();
}

}  // namespace capstan::media
