#include "plugins/s3/read_ahead.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace capstan::s3 {
namespace {

constexpr int kSequentialFrom = 2;  // readings in a row

// Completes a reading that goes across chunks when its last piece has come.
RangedReader::Done Joined(std::size_t pieces, RangedReader::Done done) {
  struct Join {
    std::mutex mutex;
    std::size_t left;
    Failure failure;
    RangedReader::Done done;
  };
  if (pieces == 1) {
    return done;
  }
  const auto join = std::make_shared<Join>();
  join->left = pieces;
  join->done = std::move(done);
  return [join](Failure failure) {
    {
      const std::lock_guard lock(join->mutex);
      if (!join->failure.failed()) {
        join->failure = std::move(failure);
      }
      if (--join->left > 0) {
        return;
      }
    }
    join->done(std::move(join->failure));
  };
}

}  // namespace

bool ReadAhead::IsSequential(std::int64_t position, std::size_t size) {
  in_a_row_ = position == next_position_ ? in_a_row_ + 1 : 0;
  next_position_ = position + static_cast<std::int64_t>(size);
  return in_a_row_ >= kSequentialFrom;
}

void ReadAhead::Start(std::int64_t position, std::span<std::byte> target, Done done) {
  const auto chunk_size = static_cast<std::int64_t>(options_.chunk_size);
  const std::int64_t last = (position + static_cast<std::int64_t>(target.size()) - 1) / chunk_size;
  std::int64_t index = position / chunk_size;
  if (!IsSequential(position, target.size())) {
    reader_.Start(position, target, std::move(done));
    return;
  }
  {
    // What lies behind was skipped, and is not asked for any more.
    const std::lock_guard lock(mutex_);
    std::erase_if(chunks_,
                  [&](const auto& entry) { return entry.first < index && entry.second.arrived; });
  }
  for (std::int64_t ahead = index; ahead * chunk_size < reader_.size() && Fetch(ahead); ++ahead) {
  }
  const Done piece_done = Joined(static_cast<std::size_t>(last - index + 1), std::move(done));
  for (; index <= last; ++index) {
    const std::int64_t begin = position - index * chunk_size;
    const std::size_t count = std::min(target.size(), static_cast<std::size_t>(chunk_size - begin));
    Waiting waiting{begin, target.first(count), piece_done};
    if (!Serve(index, &waiting)) {
      reader_.Start(position, waiting.target, piece_done);
    }
    position += static_cast<std::int64_t>(count);
    target = target.subspan(count);
  }
}

bool ReadAhead::Fetch(std::int64_t index) {
  const std::int64_t begin = index * static_cast<std::int64_t>(options_.chunk_size);
  std::span<std::byte> target;
  {
    const std::lock_guard lock(mutex_);
    if (chunks_.contains(index)) {
      return true;
    }
    auto memory = memory_.TryTake(options_.chunk_size, options_.memory);
    if (!memory) {
      return false;
    }
    const std::int64_t size =
        std::min(static_cast<std::int64_t>(options_.chunk_size), reader_.size() - begin);
    target = memory->bytes().first(static_cast<std::size_t>(size));
    chunks_[index] = {.memory = std::move(memory), .size = size};
    ++loading_;
  }
  reader_.Start(begin, target,
                [this, index](const Failure& failure) { OnArrived(index, failure); });
  return true;
}

bool ReadAhead::Serve(std::int64_t index, Waiting* waiting) {
  const auto count = static_cast<std::int64_t>(waiting->target.size());
  {
    const std::lock_guard lock(mutex_);
    const auto found = chunks_.find(index);
    if (found == chunks_.end()) {
      return false;
    }
    Chunk& chunk = found->second;
    chunk.given += count;
    if (!chunk.arrived) {
      chunk.waiting.push_back(std::move(*waiting));
      return true;
    }
    std::memcpy(waiting->target.data(), chunk.memory->bytes().data() + waiting->begin,
                waiting->target.size());
    if (chunk.given >= chunk.size) {
      chunks_.erase(found);
    }
  }
  waiting->done(Failure::None());
  return true;
}

// On the HttpClient's thread.
void ReadAhead::OnArrived(std::int64_t index, const Failure& failure) {
  std::vector<Waiting> waiting;
  {
    const std::lock_guard lock(mutex_);
    Chunk& chunk = chunks_.at(index);
    waiting = std::move(chunk.waiting);
    chunk.arrived = true;
    for (const Waiting& one : waiting) {
      if (!failure.failed()) {
        std::memcpy(one.target.data(), chunk.memory->bytes().data() + one.begin, one.target.size());
      }
    }
    // A chunk that failed is forgotten: who asks again gets another try.
    if (failure.failed() || chunk.given >= chunk.size) {
      chunks_.erase(index);
    }
  }
  for (const Waiting& one : waiting) {
    one.done(failure);
  }
  const std::lock_guard lock(mutex_);
  --loading_;
  changed_.notify_all();
}

void ReadAhead::Forget() {
  std::unique_lock lock(mutex_);
  // Bounded by the client, which gives up sooner or later.
  changed_.wait(lock, [this] { return loading_ == 0; });
  chunks_.clear();
}

}  // namespace capstan::s3
