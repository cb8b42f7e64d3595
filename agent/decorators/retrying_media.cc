#include "agent/decorators/retrying_media.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "agent/decorators/retrying_device.h"
#include "vdi/base/log.h"

namespace capstan::agent {

std::chrono::milliseconds Backoff::Before(std::uint32_t attempt) {
  constexpr long kFirst = 100;
  constexpr long kLongest = 5'000;
  const std::uint32_t doublings = std::min(attempt - 2, 6U);
  const long longest = std::min(kFirst << doublings, kLongest);
  const MutexLock lock(mutex_);
  return std::chrono::milliseconds(
      std::uniform_int_distribution<long>(longest / 2, longest)(random_));
}

RetryingMedia::RetryingMedia(std::unique_ptr<MediaPlugin> plugin, RetryOptions options,
                             Alarms& alarms)
    : MediaDecorator(std::move(plugin)),
      options_(options),
      alarms_(alarms),
      backoff_(options.seed) {}

Result<std::unique_ptr<MediaDevice>> RetryingMedia::Open(const OpenMediumOptions& options) {
  std::unique_ptr<MediaDevice> device;
  CAPSTAN_RETURN_IF_ERROR(Repeat("opening '" + options.target + "'", [&](std::uint32_t) -> Status {
    CAPSTAN_ASSIGN_OR_RETURN(device, plugin().Open(options));
    return OkStatus();
  }));
  const bool random_access = (info().device_features & CAPSTAN_FEATURE_RANDOM_ACCESS) != 0;
  return MakeRetryingDevice(std::move(device), {.target = options.target,
                                                .random_access = random_access,
                                                .limit = options_.limit,
                                                .alarms = alarms_,
                                                .backoff = backoff_});
}

Result<MediumStat> RetryingMedia::Stat(const std::string& target) {
  MediumStat stat;
  CAPSTAN_RETURN_IF_ERROR(Repeat("looking up '" + target + "'", [&](std::uint32_t) -> Status {
    CAPSTAN_ASSIGN_OR_RETURN(stat, plugin().Stat(target));
    return OkStatus();
  }));
  return stat;
}

Status RetryingMedia::Remove(const std::string& target) {
  return Repeat("removing '" + target + "'", [&](std::uint32_t attempt) {
    Status removed = plugin().Remove(target);
    // The try before may have done it, and only its answer was lost.
    return attempt > 1 && removed.os_error() == ENOENT ? OkStatus() : removed;
  });
}

Status RetryingMedia::Recover(const std::string& target, const std::string& token,
                              capstan_recover_action action) {
  return Repeat("recovering '" + target + "'",
                [&](std::uint32_t) { return plugin().Recover(target, token, action); });
}

void RetryingMedia::EndWaits() {
  {
    const MutexLock lock(mutex_);
    ++epoch_;
    changed_.NotifyAll();
  }
  MediaDecorator::EndWaits();
}

Status RetryingMedia::Repeat(const std::string& what,
                             const std::function<Status(std::uint32_t)>& call) {
  std::uint64_t epoch = 0;
  {
    const MutexLock lock(mutex_);
    epoch = epoch_;
  }
  Alarms::TimePoint give_up = Alarms::TimePoint::max();
  for (std::uint32_t attempt = 1;; ++attempt) {
    Status status = call(attempt);
    if (status.ok() || status.code() != Code::kUnavailable) {
      return status;
    }
    const Alarms::TimePoint now = alarms_.Now();
    give_up = std::min(give_up, now + options_.limit);
    const Alarms::TimePoint again = now + backoff_.Before(attempt + 1);
    if (again >= give_up) {
      return status;
    }
    CAPSTAN_LOG(kWarning, "{} failed and is tried again attempt={} error={}", what, attempt + 1,
                status.message());
    if (!WaitUntil(again, epoch)) {
      return status;
    }
  }
}

bool RetryingMedia::WaitUntil(Alarms::TimePoint when, std::uint64_t epoch) {
  bool due = false;  // guarded by mutex_
  const Alarms::Id alarm = alarms_.CallAt(when, [&] {
    const MutexLock lock(mutex_);
    due = true;
    changed_.NotifyAll();
  });
  bool undisturbed = false;
  {
    const MutexLock lock(mutex_);
    while (!due && epoch_ == epoch) {
      changed_.Wait(mutex_);  // the alarm is sure to end it
    }
    undisturbed = epoch_ == epoch;
  }
  alarms_.Cancel(alarm);
  return undisturbed;
}

}  // namespace capstan::agent
