#include "plugins/s3/part_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace capstan::s3 {

PartWriter::PartWriter(PartMemory& memory, Options options, UploadFor upload_for)
    : memory_(memory), options_(std::move(options)), upload_for_(std::move(upload_for)) {}

PartWriter::~PartWriter() {
  std::unique_lock lock(mutex_);
  // Bounded by the client, which gives up sooner or later.
  changed_.wait(lock, [this] { return sending_ == 0; });
}

Failure PartWriter::Write(std::int64_t position, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const PartPlace place = options_.plan.At(position);
    Part* part = nullptr;
    if (Failure failure = Find(place, &part); failure.failed()) {
      return failure;
    }
    const std::int64_t begin = position - place.begin;
    const std::size_t count =
        std::min(bytes.size(), static_cast<std::size_t>(place.end() - position));
    std::memcpy(part->memory->bytes().data() + begin, bytes.data(), count);
    Add(&part->written, {begin, begin + static_cast<std::int64_t>(count)});
    part->state = State::kFilling;
    position += static_cast<std::int64_t>(count);
    bytes = bytes.subspan(count);
    end_ = std::max(end_, position);
    if (IsFull(*part)) {
      if (Failure failure = Send(*part); failure.failed()) {
        return failure;
      }
    }
  }
  return failure();
}

// The part that takes these bytes, in a state in which it may be written to.
Failure PartWriter::Find(const PartPlace& place, Part** part) {
  bool holds_none = false;
  {
    std::unique_lock lock(mutex_);
    if (failure_.failed()) {
      return failure_;
    }
    const auto known = parts_.find(place.begin);
    if (known != parts_.end() && known->second.state != State::kSending) {
      *part = &known->second;
      return Failure::None();
    }
    if (known != parts_.end() || sent_.contains(place.begin)) {
      return Failure::Of(ENOTSUP, "a part that was sent cannot be written to again, at byte " +
                                      std::to_string(place.begin));
    }
    holds_none = parts_.empty();
  }
  auto memory =
      memory_.Take({.size = static_cast<std::size_t>(place.size),
                    .capacity = options_.memory,
                    .holds_none = holds_none,
                    .cancel = [this] { return failure().failed() || options_.give_up->load(); }});
  const std::lock_guard lock(mutex_);
  if (!memory) {
    const bool told = options_.give_up->load();
    return failure_.failed() ? failure_
           : told            ? Failure::Of(ECANCELED, "writing was broken off")
                             : Failure::Of(ENOMEM, "there is no memory for a part");
  }
  Part fresh{.place = place, .memory = std::move(memory)};
  *part = &parts_.emplace(place.begin, std::move(fresh)).first->second;
  return Failure::None();
}

bool PartWriter::IsFull(const Part& part) const {
  return part.written.size() == 1 && part.written[0].begin == 0 &&
         part.written[0].end == part.place.size;
}

void PartWriter::Add(std::vector<Range>* ranges, Range range) {
  std::vector<Range> apart;
  for (const Range& other : *ranges) {
    if (other.end < range.begin || other.begin > range.end) {
      apart.push_back(other);
    } else {
      range = {std::min(range.begin, other.begin), std::max(range.end, other.end)};
    }
  }
  apart.push_back(range);
  std::sort(apart.begin(), apart.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  *ranges = std::move(apart);
}

void PartWriter::ZeroHoles(Part& part, std::int64_t size) {
  std::int64_t at = 0;
  std::vector<Range> written = part.written;
  written.push_back({size, size});
  for (const Range& range : written) {
    std::memset(part.memory->bytes().data() + at, 0, static_cast<std::size_t>(range.begin - at));
    at = range.end;
  }
  part.written = {{0, size}};
}

Failure PartWriter::Send(Part& part) {
  Upload* upload = nullptr;
  if (Failure failure = upload_for_(part.place, &upload); failure.failed()) {
    const std::lock_guard lock(mutex_);
    part.state = State::kFailed;
    failure_ = failure;
    return failure;
  }
  const std::int64_t size = std::min(part.place.size, end_ - part.place.begin);
  ZeroHoles(part, size);
  {
    const std::lock_guard lock(mutex_);
    part.state = State::kSending;
    ++sending_;
    sent_.insert(part.place.begin);
  }
  upload->SendPart(
      part.place.part_number, part.memory->bytes().first(static_cast<std::size_t>(size)),
      [this, begin = part.place.begin](Failure failure) { OnSent(begin, std::move(failure)); });
  return Failure::None();
}

// On the HttpClient's thread.
void PartWriter::OnSent(std::int64_t begin, Failure failure) {
  std::unique_ptr<PartMemory::Piece> memory;
  {
    const std::lock_guard lock(mutex_);
    Part& part = parts_.at(begin);
    if (failure.failed()) {
      part.state = State::kFailed;
      failure_ = failure_.failed() ? failure_ : std::move(failure);
    } else if (IsFull(part)) {
      memory = std::move(part.memory);
      parts_.erase(begin);
    } else {
      part.state = State::kSent;
    }
  }
  memory.reset();
  // Last: nothing of this may be there afterwards, nor the memory's owner.
  const std::lock_guard lock(mutex_);
  --sending_;
  changed_.notify_all();
}

Failure PartWriter::Flush() {
  if (Failure failed = failure(); failed.failed()) {
    return failed;
  }
  std::vector<Part*> unsent;
  {
    const std::lock_guard lock(mutex_);
    // A part that is missing would move all that follow.
    for (std::int64_t at = 0; at < end_; at = options_.plan.At(at).end()) {
      if (!parts_.contains(at) && !sent_.contains(at)) {
        return Failure::Of(EINVAL, "nothing was written at byte " + std::to_string(at));
      }
    }
    for (auto& [begin, part] : parts_) {
      if (part.state == State::kFilling || part.state == State::kFailed) {
        unsent.push_back(&part);
      }
    }
  }
  for (Part* const part : unsent) {
    if (Failure failed = Send(*part); failed.failed()) {
      return failed;
    }
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return sending_ == 0; });
  return failure_;
}

bool PartWriter::Read(std::int64_t position, std::span<std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  while (!bytes.empty()) {
    const PartPlace place = options_.plan.At(position);
    const auto found = parts_.find(place.begin);
    const std::size_t count =
        std::min(bytes.size(), static_cast<std::size_t>(place.end() - position));
    if (found == parts_.end()) {
      return false;
    }
    const std::int64_t begin = position - place.begin;
    const auto& written = found->second.written;
    const auto covers = [&](const Range& range) {
      return range.begin <= begin && begin + static_cast<std::int64_t>(count) <= range.end;
    };
    if (std::none_of(written.begin(), written.end(), covers)) {
      return false;
    }
    std::memcpy(bytes.data(), found->second.memory->bytes().data() + begin, count);
    position += static_cast<std::int64_t>(count);
    bytes = bytes.subspan(count);
  }
  return true;
}

void PartWriter::Forget() {
  const std::lock_guard lock(mutex_);
  std::erase_if(parts_, [](const auto& entry) { return entry.second.state == State::kSent; });
}

Failure PartWriter::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

void PartWriter::ClearFailure() {
  const std::lock_guard lock(mutex_);
  failure_ = Failure::None();
}

}  // namespace capstan::s3
