// RetryingMedia: does again what failed in a way that passes by itself: the plugin said so with
// CAPSTAN_ERROR_TRANSIENT, which is Code::kUnavailable here.
//
// Again: open, stat, remove, recover; LOAD and REWIND; and on a device with random access also
// READ, WRITE, FLUSH and COMPLETE, since each says where it goes. Never what moves a medium that is
// read or written in order: nobody knows where it stands after a failure.
// Waits grow from 100 ms to 5 s, each shortened by up to a half by chance, so that many devices do
// not come back at once. What has failed for longer than the limit fails for good, with the last
// failure's words. Close and EndWaits end all waits.
//
// Threads: as MediaPlugin.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <random>

#include "agent/decorators/alarms.h"
#include "agent/decorators/media_decorator.h"
#include "vdi/base/mutex.h"

namespace capstan::agent {

struct RetryOptions {
  std::chrono::milliseconds limit{30'000};  // since the first failure; 0 = nothing is done again
  std::uint32_t seed = std::random_device{}();
};

// How long to wait before the next try. Threads: any.
class Backoff {
 public:
  explicit Backoff(std::uint32_t seed) : random_(seed) {}
  // Before try number `attempt`; the second is the first that waits.
  std::chrono::milliseconds Before(std::uint32_t attempt) CAPSTAN_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::minstd_rand random_ CAPSTAN_GUARDED_BY(mutex_);
};

class RetryingMedia final : public MediaDecorator {
 public:
  // `alarms` outlives the plugin and its devices; so does the plugin its devices.
  RetryingMedia(std::unique_ptr<MediaPlugin> plugin, RetryOptions options, Alarms& alarms);

  Result<std::unique_ptr<MediaDevice>> Open(const OpenMediumOptions& options) override;
  Result<MediumStat> Stat(const std::string& target) override;
  Status Remove(const std::string& target) override;
  Status Recover(const std::string& target, const std::string& token,
                 capstan_recover_action action) override;
  void EndWaits() override CAPSTAN_EXCLUDES(mutex_);

 private:
  // Until it succeeds, fails for good, or the limit is over. `attempt` counts from 1.
  Status Repeat(const std::string& what, const std::function<Status(std::uint32_t attempt)>& call)
      CAPSTAN_EXCLUDES(mutex_);
  // False if EndWaits was called since `epoch`.
  bool WaitUntil(Alarms::TimePoint when, std::uint64_t epoch) CAPSTAN_EXCLUDES(mutex_);

  const RetryOptions options_;
  Alarms& alarms_;
  Backoff backoff_;

  Mutex mutex_;
  CondVar changed_;
  std::uint64_t epoch_ CAPSTAN_GUARDED_BY(mutex_) = 0;  // how often waits were ended
};

}  // namespace capstan::agent
