#include "plugins/tape/emulator/block_index.h"

#include <algorithm>

namespace capstan::tape {

std::uint64_t BlockIndex::end_offset() const {
  if (runs_.empty()) {
    return 0;
  }
  const Run& last = runs_.back();
  return last.first.offset + last.count * last.first.stored;
}

void BlockIndex::Append(const TapeObject& object) {
  if (!runs_.empty()) {
    Run& last = runs_.back();
    if (last.first.kind == object.kind && last.first.length == object.length &&
        last.first.stored == object.stored && end_offset() == object.offset) {
      ++last.count;
      ++count_;
      return;
    }
  }
  runs_.push_back({object, count_, 1});
  ++count_;
}

void BlockIndex::Truncate(std::uint64_t count) {
  while (!runs_.empty() && runs_.back().number >= count) {
    runs_.pop_back();
  }
  if (!runs_.empty()) {
    Run& last = runs_.back();
    last.count = std::min(last.count, count - last.number);
  }
  count_ = std::min(count_, count);
}

std::vector<BlockIndex::Run>::const_iterator BlockIndex::RunOf(std::uint64_t object) const {
  if (object >= count_) {
    return runs_.end();
  }
  const auto behind =
      std::upper_bound(runs_.begin(), runs_.end(), object,
                       [](std::uint64_t wanted, const Run& run) { return wanted < run.number; });
  return behind - 1;  // the first run begins with object 0
}

TapeObject BlockIndex::Find(std::uint64_t object) const {
  const auto run = RunOf(object);
  TapeObject found = run->first;
  found.offset += (object - run->number) * found.stored;
  return found;
}

std::optional<std::uint64_t> BlockIndex::FilemarkFrom(std::uint64_t object) const {
  for (auto run = RunOf(object); run != runs_.end(); ++run) {
    if (run->first.kind == ObjectKind::kFilemark) {
      return std::max(object, run->number);
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> BlockIndex::FilemarkBefore(std::uint64_t object) const {
  auto run = RunOf(object);
  if (run != runs_.end() && run->first.kind == ObjectKind::kFilemark && object > run->number) {
    return object - 1;
  }
  while (run != runs_.begin()) {
    --run;
    if (run->first.kind == ObjectKind::kFilemark) {
      return run->number + run->count - 1;
    }
  }
  return std::nullopt;
}

}  // namespace capstan::tape
