#include "server/writers/postgres/page_scan.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "server/writers/positioned_io.h"
#include "vdi/base/mutex.h"
#include "vdi/base/thread.h"

namespace capstan::writers {
namespace {

constexpr unsigned kThreadsMax = 4;  // more do not get more out of memory or a disk

std::uint64_t PartsOf(std::uint64_t size_bytes) {
  return (size_bytes + PageScan::kPartBytes - 1) / PageScan::kPartBytes;
}

}  // namespace

// The threads of one file. Each takes the next part that nobody has; what they find waits in its
// place until the caller's thread comes to it.
class PageScan::Team {
 public:
  Team(const PageScan& scan, const File& file)
      : scan_(scan), file_(file), part_count_(PartsOf(file.size_bytes)) {}
  ~Team() {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.NotifyAll();
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  Status Start() {
    const unsigned count = std::clamp(std::thread::hardware_concurrency(), 1U, kThreadsMax);
    for (unsigned i = 0; i < count; ++i) {
      CAPSTAN_ASSIGN_OR_RETURN(std::jthread thread, StartThread("pages that have changed",
                                                                [this]() noexcept { Work(); }));
      threads_.push_back(std::move(thread));
    }
    return OkStatus();
  }

  // REQUIRES: number counts up from 0, below the count of parts.
  Result<Part> Take(std::uint64_t number) CAPSTAN_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    std::optional<Result<Part>>& place = found_[number % kAheadMax];
    while (!place) {
      changed_.Wait(mutex_);
    }
    Result<Part> part = *std::exchange(place, std::nullopt);
    taken_ = number + 1;
    changed_.NotifyAll();
    return part;
  }

 private:
  static constexpr std::uint64_t kAheadMax = 32;  // parts

  void Work() {
    const AlignedBytes buffer(kPartBytes);
    while (const std::optional<std::uint64_t> number = Next()) {
      Put(*number, scan_.Find(file_, *number, buffer.span()));
    }
  }
  // The next part to read, once there is a place for what is found; nothing when the work is over.
  std::optional<std::uint64_t> Next() CAPSTAN_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!ending_ && next_ < part_count_ && next_ >= taken_ + kAheadMax) {
      changed_.Wait(mutex_);
    }
    if (ending_ || next_ == part_count_) {
      return std::nullopt;
    }
    file_.before_read(std::min(file_.size_bytes, (next_ + 1) * kPartBytes));
    return next_++;
  }
  void Put(std::uint64_t number, Result<Part> part) CAPSTAN_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    found_[number % kAheadMax] = std::move(part);
    changed_.NotifyAll();
  }

  const PageScan& scan_;
  const File& file_;
  const std::uint64_t part_count_;

  Mutex mutex_;
  CondVar changed_;
  std::array<std::optional<Result<Part>>, kAheadMax> found_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint64_t next_ CAPSTAN_GUARDED_BY(mutex_) = 0;   // that nobody has
  std::uint64_t taken_ CAPSTAN_GUARDED_BY(mutex_) = 0;  // by the caller
  bool ending_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::vector<std::jthread> threads_;  // last: joined before the rest goes
};

Result<PageScan::Part> PageScan::Find(const File& file, std::uint64_t number,
                                      std::span<std::byte> buffer) const {
  Part part{.offset = number * kPartBytes};
  part.length = std::min<std::uint64_t>(kPartBytes, file.size_bytes - part.offset);
  const std::span<std::byte> bytes = buffer.first(static_cast<std::size_t>(part.length));
  CAPSTAN_RETURN_IF_ERROR(ReadOrZero(file.fd, part.offset, bytes));
  part.runs = changes_.Find(bytes);
  return part;
}

Status PageScan::Run(const File& file, const std::function<Status(const Part&)>& take) {
  const std::uint64_t part_count = PartsOf(file.size_bytes);
  std::optional<Team> team;
  if (file.size_bytes >= kThreadsWorthBytes) {
    team.emplace(*this, file);
    CAPSTAN_RETURN_IF_ERROR(team->Start());
  }
  for (std::uint64_t number = 0; number < part_count; ++number) {
    if (team) {
      CAPSTAN_ASSIGN_OR_RETURN(const Part part, team->Take(number));
      CAPSTAN_RETURN_IF_ERROR(take(part));
      continue;
    }
    file.before_read(std::min(file.size_bytes, (number + 1) * kPartBytes));
    CAPSTAN_ASSIGN_OR_RETURN(const Part part, Find(file, number, buffer_.span()));
    CAPSTAN_RETURN_IF_ERROR(take(part));
  }
  return OkStatus();
}

}  // namespace capstan::writers
