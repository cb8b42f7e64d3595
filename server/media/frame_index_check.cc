#include "server/media/frame_index_check.h"

#include "server/media/capstan_layout.h"

namespace capstan::media {

RecordRun FrameIndexCheck::next_records() const {
  switch (part_) {
    case Part::kHead:
      return {.record_size = sizeof(FrameIndexStream), .size_bytes = sizeof(FrameIndexStream)};
    case Part::kEntries:
      return {.record_size = record_size(), .size_bytes = remaining_};
    case Part::kSeal:
    case Part::kComplete:
      break;
  }
  return {.record_size = sizeof(StreamSeal), .size_bytes = sizeof(StreamSeal)};
}

void FrameIndexCheck::KeepLost(Bytes entries, const FrameLosses& losses) {
  for (; !entries.empty(); entries = entries.subspan(record_size()), ++frame_) {
    const Bytes record = entries.first(record_size());
    const std::uint32_t size =
        form_.compressed() ? LoadStruct<PackedIndexEntry>(record).frame_size : stride_;
    const FrameExtent extent = ExtentOf(record, form_.lead() + form_.tail());
    if (losses.Contains(frame_) && !extent.is_void()) {
      lost_.push_back(
          {.extent = extent, .number = frame_, .medium_offset = next_offset_, .size = size});
    }
    next_offset_ += size;
  }
}

Status FrameIndexCheck::Take(Bytes records, const FamilySummary& seen, const FrameLosses& losses,
                             BlockWalker* walker) {
  switch (part_) {
    case Part::kHead: {
      const auto head = LoadStruct<FrameIndexStream>(records);
      if (head.version != kStreamVersion || head.entry_size != record_size() ||
          head.count != seen.frame_count) {
        return walker->Damaged(walker->offset(), "frame index");
      }
      remaining_ = head.count * record_size();
      break;
    }
    case Part::kEntries:
      digest_ = Crc32c(digest_, records);
      if (losses.any()) {
        KeepLost(records, losses);
      }
      remaining_ -= records.size();
      break;
    case Part::kSeal:
      if (!walker->CheckSeal(records) || digest_ != seen.digest) {
        return walker->Damaged(walker->offset(), "frame index");
      }
      part_ = Part::kComplete;
      return OkStatus();
    case Part::kComplete:
      return walker->Damaged(walker->offset(), "frame index length");
  }
  part_ = remaining_ > 0 ? Part::kEntries : Part::kSeal;
  return OkStatus();
}

}  // namespace capstan::media
