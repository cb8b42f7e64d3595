#include "server/engine/damage_report.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

constexpr std::size_t kSentencesMax = 20;
constexpr std::size_t kLostMax = 40;
constexpr int kPlaceNumber = 65004;               // of what is said of a place on a medium
constexpr std::uint32_t kPageSizeDefault = 8192;  // of a file that has none: the messages' pages

struct Pages {
  std::uint64_t first = 0;  // from 1
  std::uint64_t last = 0;
};

Pages PagesOf(const media::BackupFile& file, std::uint64_t offset, std::uint64_t length) {
  const std::uint32_t size = file.page_size != 0 ? file.page_size : kPageSizeDefault;
  return {.first = offset / size + 1, .last = (offset + length - 1) / size + 1};
}

}  // namespace

std::string PlaceOf(const media::BackupSet& set, const LostRange& range) {
  const media::BackupFile& file = set.files.at(range.file_index);
  const Pages pages = PagesOf(file, range.offset, range.length);
  return fmt::format("{} bytes of file '{}' from byte {}, pages {} to {}", range.length,
                     file.physical_name, range.offset, pages.first, pages.last);
}

std::string PlaceOf(const media::BackupSet& set, const media::FrameExtent& frame) {
  return PlaceOf(set, LostRange{.target = {},
                                .file_index = frame.file_index,
                                .offset = frame.file_offset,
                                .length = frame.length});
}

void DamageReport::Say(int number, std::string sentence) {
  ++sentence_count_;
  if (sentences_.size() < kSentencesMax) {
    sentences_.emplace_back(number, std::move(sentence));
  }
}

void DamageReport::NoteGood(const media::FrameExtent& frame) {
  MutexLock lock(mutex_);
  Coverage& covered = good_[frame.file_index];
  std::uint64_t begin = frame.file_offset;
  std::uint64_t end = frame.file_offset + frame.length;
  auto next = covered.upper_bound(begin);
  if (next != covered.begin() && std::prev(next)->second >= begin) {
    --next;
    begin = next->first;
  }
  while (next != covered.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = covered.erase(next);
  }
  covered.emplace(begin, end);
}

void DamageReport::NoteLost(const std::string& target, const media::FrameExtent& frame,
                            const Status& why) {
  MutexLock lock(mutex_);
  lost_frames_.push_back({.target = target,
                          .file_index = frame.file_index,
                          .offset = frame.file_offset,
                          .length = frame.length});
  Say(kPlaceNumber, std::string(why.message()));
}

void DamageReport::NoteDamage(const std::string& /*target*/, const media::MediumDamage& damage) {
  MutexLock lock(mutex_);
  Say(kPlaceNumber, damage.text);
}

void DamageReport::NoteEnd(const std::string& target, const media::SetTrailer& trailer) {
  MutexLock lock(mutex_);
  for (const media::LostFrame& frame : trailer.lost_frames) {
    lost_frames_.push_back({.target = target,
                            .file_index = frame.extent.file_index,
                            .offset = frame.extent.file_offset,
                            .length = frame.extent.length});
  }
  if (trailer.damaged) {
    open_targets_.push_back(target);
  }
}

void DamageReport::NoteFamily(const std::string& target, const Status& why) {
  MutexLock lock(mutex_);
  open_targets_.push_back(target);
  Say(kPlaceNumber, std::string(why.hint().empty() ? why.message() : why.hint()));
}

void DamageReport::NoteFailure(const Status& failure) {
  MutexLock lock(mutex_);
  Say(failure.reason(), failure.hint().empty()
                            ? std::string(failure.message())
                            : fmt::format("{} ({})", failure.message(), failure.hint()));
}

bool DamageReport::any() const {
  MutexLock lock(mutex_);
  return sentence_count_ > 0 || !lost_frames_.empty() || !open_targets_.empty();
}

std::string DamageReport::TargetOf(const LostRange& range) const {
  std::vector<std::string> targets;
  for (const LostRange& frame : lost_frames_) {
    if (frame.file_index == range.file_index && frame.offset < range.offset + range.length &&
        range.offset < frame.offset + frame.length &&
        std::find(targets.begin(), targets.end(), frame.target) == targets.end()) {
      targets.push_back(frame.target);
    }
  }
  return fmt::format("{}", fmt::join(targets.empty() ? open_targets_ : targets, "', '"));
}

std::vector<LostRange> DamageReport::Lost(const media::BackupSet& set) const {
  MutexLock lock(mutex_);
  std::vector<LostRange> lost;
  if (set.is_snapshot) {
    return lost;
  }
  for (std::uint32_t i = 0; i < set.files.size(); ++i) {
    if (!set.files[i].whole) {
      std::copy_if(lost_frames_.begin(), lost_frames_.end(), std::back_inserter(lost),
                   [i](const LostRange& frame) { return frame.file_index == i; });
      continue;
    }
    const auto covered = good_.find(i);
    std::uint64_t at = 0;
    const auto add_up_to = [&](std::uint64_t end) CAPSTAN_REQUIRES(mutex_) {
      if (at < end) {
        LostRange range{.target = {}, .file_index = i, .offset = at, .length = end - at};
        range.target = TargetOf(range);
        lost.push_back(std::move(range));
      }
    };
    if (covered != good_.end()) {
      for (const auto& [begin, end] : covered->second) {
        add_up_to(begin);
        at = end;
      }
    }
    add_up_to(set.files[i].size_bytes);
  }
  return lost;
}

std::vector<LostRange> DamageReport::LostFrames() const {
  MutexLock lock(mutex_);
  return lost_frames_;
}

std::vector<std::pair<int, std::string>> DamageReport::Messages(
    const media::BackupSet& set, const std::vector<LostRange>& lost) const {
  std::vector<std::pair<int, std::string>> messages;
  {
    MutexLock lock(mutex_);
    messages = sentences_;
    if (sentence_count_ > sentences_.size()) {
      messages.emplace_back(kPlaceNumber, fmt::format("... and {} more places.",
                                                      sentence_count_ - sentences_.size()));
    }
  }
  std::uint64_t more_bytes = 0;
  for (std::size_t i = 0; i < lost.size(); ++i) {
    const LostRange& range = lost[i];
    if (i >= kLostMax) {
      more_bytes += range.length;
      continue;
    }
    const media::BackupFile& file = set.files[range.file_index];
    const Pages pages = PagesOf(file, range.offset, range.length);
    messages.emplace_back(65014, MessageText(65014, range.target, range.length, file.physical_name,
                                             range.offset, pages.first, pages.last));
  }
  if (more_bytes > 0) {
    messages.emplace_back(65014, fmt::format("... and {} more stretches, {} bytes together.",
                                             lost.size() - kLostMax, more_bytes));
  }
  return messages;
}

}  // namespace capstan::engine
