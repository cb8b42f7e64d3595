#include "server/engine/restart/restored_frames.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace capstan::engine {
namespace {

static_assert(std::endian::native == std::endian::little, "records are kept as they are");

struct Record {
  std::uint64_t sequence;
  std::uint64_t file_offset;
  std::uint32_t file_index;
  std::uint32_t length;
  std::uint32_t stored_length;
  std::uint32_t crc32c;
  std::uint32_t contents_crc32c;
  std::uint32_t reserved;
};
static_assert(sizeof(Record) == 40);

bool Same(const media::FrameExtent& a, const media::FrameExtent& b) {
  return a.sequence == b.sequence && a.file_index == b.file_index &&
         a.file_offset == b.file_offset && a.length == b.length &&
         a.stored_size() == b.stored_size() && a.crc32c == b.crc32c;
}

}  // namespace

std::string EncodeFrames(std::span<const RestoredFrame> frames) {
  std::string encoded(frames.size() * sizeof(Record), '\0');
  char* to = encoded.data();
  for (const RestoredFrame& frame : frames) {
    const Record record{.sequence = frame.extent.sequence,
                        .file_offset = frame.extent.file_offset,
                        .file_index = frame.extent.file_index,
                        .length = frame.extent.length,
                        .stored_length = frame.extent.stored_length,
                        .crc32c = frame.extent.crc32c,
                        .contents_crc32c = frame.contents_crc32c,
                        .reserved = 0};
    std::memcpy(to, &record, sizeof record);
    to += sizeof record;
  }
  return encoded;
}

Result<std::vector<RestoredFrame>> DecodeFrames(std::string_view encoded) {
  if (encoded.size() % sizeof(Record) != 0) {
    return Error(Code::kDataLoss, "a checkpoint of {} bytes is not whole", encoded.size());
  }
  std::vector<RestoredFrame> frames;
  frames.reserve(encoded.size() / sizeof(Record));
  for (; !encoded.empty(); encoded.remove_prefix(sizeof(Record))) {
    Record record;
    std::memcpy(&record, encoded.data(), sizeof record);
    if (record.length == 0 || record.reserved != 0) {
      return Error(Code::kDataLoss, "a frame of a checkpoint is none");
    }
    frames.push_back({.extent = {.file_index = record.file_index,
                                 .file_offset = record.file_offset,
                                 .length = record.length,
                                 .sequence = record.sequence,
                                 .crc32c = record.crc32c,
                                 .stored_length = record.stored_length},
                      .contents_crc32c = record.contents_crc32c});
  }
  return frames;
}

RestoredFrames::RestoredFrames(std::vector<RestoredFrame> frames) {
  std::stable_sort(frames.begin(), frames.end(), [](const auto& a, const auto& b) {
    return a.extent.sequence < b.extent.sequence;
  });
  for (RestoredFrame& frame : frames) {
    if (!frames_.empty() && frames_.back().extent.sequence == frame.extent.sequence) {
      frames_.back() = frame;
    } else {
      frames_.push_back(frame);
    }
  }
  right_.resize(frames_.size());
}

std::uint64_t RestoredFrames::right_bytes() const {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < frames_.size(); ++i) {
    bytes += is_right(i) ? frames_[i].extent.length : 0;
  }
  return bytes;
}

std::size_t RestoredFrames::IndexOf(std::uint64_t sequence) const {
  const auto found = std::lower_bound(frames_.begin(), frames_.end(), sequence,
                                      [](const RestoredFrame& frame, std::uint64_t wanted) {
                                        return frame.extent.sequence < wanted;
                                      });
  return found != frames_.end() && found->extent.sequence == sequence
             ? static_cast<std::size_t>(found - frames_.begin())
             : frames_.size();
}

RestoredFrames::Match RestoredFrames::Find(const media::FrameExtent& frame) const {
  const std::size_t index = IndexOf(frame.sequence);
  if (index == frames_.size()) {
    return Match::kUnknown;
  }
  return Same(frames_[index].extent, frame) ? Match::kRestored : Match::kOther;
}

bool RestoredFrames::Covers(const media::FrameExtent& frame) const {
  const std::size_t index = IndexOf(frame.sequence);
  return index != frames_.size() && is_right(index) && Same(frames_[index].extent, frame);
}

}  // namespace capstan::engine
