// FrameIndexCheck: compares the frame index at the end of a set with the frames that were seen, as
// it goes by. Of the index nothing is kept but a digest, however long it is, and the entries of
// frames that were lost.
// Internal to server/media. Threads: one at a time.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "server/media/block_walker.h"
#include "server/media/family_reader.h"
#include "server/media/family_writer.h"
#include "server/media/frame.h"
#include "server/media/frame_losses.h"
#include "vdi/base/status.h"

namespace capstan::media {

class FrameIndexCheck {
 public:
  // Where the frames begin, how they are coded, and at which distance they follow one another
  // unless they are packed.
  void ExpectFrames(std::uint64_t offset, std::uint32_t stride, const PayloadForm& form) {
    next_offset_ = offset;
    stride_ = stride;
    form_ = form;
  }

  // What comes next of the index stream, a kRecords stream.
  RecordRun next_records() const;
  // Records as next_records() says, which `walker` is handing out. 3241 if the index is not the one
  // of the frames that `seen` sums up, the lost ones included.
  Status Take(Bytes records, const FamilySummary& seen, const FrameLosses& losses,
              BlockWalker* walker);

  // Whether nothing of it was seen yet.
  bool empty() const { return part_ == Part::kHead; }
  // Whether it has gone by whole and was right.
  bool complete() const { return part_ == Part::kComplete; }
  // What the index says of the frames that were lost. REQUIRES: complete(). Once.
  std::vector<LostFrame> TakeLost() { return std::move(lost_); }

 private:
  enum class Part { kHead, kEntries, kSeal, kComplete };

  void KeepLost(Bytes entries, const FrameLosses& losses);

  std::size_t record_size() const { return IndexRecord::SizeOf(form_.compressed()); }

  PayloadForm form_;
  Part part_ = Part::kHead;
  std::uint64_t remaining_ = 0;  // bytes of entries
  std::uint64_t frame_ = 0;      // that the next entry belongs to
  std::uint32_t digest_ = 0;
  std::uint64_t next_offset_ = 0;  // of the frame that the next entry belongs to
  std::uint32_t stride_ = 0;
  std::vector<LostFrame> lost_;
};

}  // namespace capstan::media
