// Alarms: calls at a later time, and the time itself, so that decorators wait without threads of
// their own and tests need not wait at all.
//
// Threads: any. Calls are made one after the other, those that are due at the same time in the
// order in which they were asked for; a call must not wait for anything.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "vdi/base/mutex.h"

namespace capstan::agent {

class Alarms {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Id = std::uint64_t;  // never 0, never used twice

  virtual ~Alarms() = default;

  virtual TimePoint Now() const = 0;
  virtual Id CallAt(TimePoint when, std::function<void()> call) = 0;
  // The call will not be made, or has been made and has returned. Not from inside a call.
  virtual void Cancel(Id id) = 0;
};

// On the steady clock; owns one thread, which makes the calls.
std::unique_ptr<Alarms> MakeAlarms();

}  // namespace capstan::agent
