#include "plugins/tape/emulator/tape_mechanics.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

namespace capstan::tape {
namespace {

constexpr double kLocateFixed_s = 3;  // stop, turn, settle on a track
constexpr double kSleepMin_s = 1e-3;
constexpr double kWindow_s = 0.5;  // over which the host's rate is measured
// Memory that is this full asks for the next speed, until it is half empty.
constexpr double kNearlyFull = 0.9;

class SteadyClock final : public HostClock {
 public:
  std::uint64_t NowUs() override {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
  }
  void SleepUs(std::uint64_t duration) override {
    std::this_thread::sleep_for(std::chrono::microseconds(duration));
  }
};

// Of a whole length of tape: locates from the beginning go half of it on average.
double WindTime(const Generation& generation) {
  return 2 * (generation.times.locate_average_s - kLocateFixed_s);
}

// 0 at the beginning of the tape, 1 at its far end.
double DistanceOf(double place, std::uint32_t wraps) {
  const double track = std::clamp(place, 0.0, 1.0) * wraps;
  const double whole = std::min(std::floor(track), static_cast<double>(wraps) - 1);
  const double part = track - whole;
  return std::fmod(whole, 2) == 0 ? part : 1 - part;
}

}  // namespace

HostClock* HostClock::Steady() {
  static SteadyClock clock;
  return &clock;
}

TapeMechanics::TapeMechanics(const Generation& generation, const MechanicsOptions& options,
                             HostClock* clock)
    : generation_(generation),
      speeds_(generation.speeds_mb_s),
      options_(options),
      clock_(clock),
      begun_us_(clock->NowUs()),
      speed_index_(speeds_.size() - 1) {}

// The host's time has gone on since it last called.
void TapeMechanics::CatchUp() {
  const double host_s = static_cast<double>(clock_->NowUs() - begun_us_) / 1e6;
  const double scale = options_.clock_scale > 0 ? options_.clock_scale : 1;
  Advance(std::max(now_s_, host_s / scale + unslept_s_));
}

// The host waits, and the tape does what it does meanwhile.
void TapeMechanics::Wait(double seconds) {
  Advance(now_s_ + seconds);
  window_waited_s_ += seconds;
  if (options_.clock_scale <= 0) {
    unslept_s_ += seconds;
    return;
  }
  owed_s_ += seconds * options_.clock_scale;
  if (owed_s_ >= kSleepMin_s) {
    clock_->SleepUs(static_cast<std::uint64_t>(owed_s_ * 1e6));
    owed_s_ = 0;
  }
}

void TapeMechanics::Advance(double to_s) {
  while (now_s_ < to_s) {
    if (tape_ == Tape::kGoingBack) {
      const double until_s = std::min(to_s, back_at_s_);
      busy_s_ += until_s - now_s_;
      now_s_ = until_s;
      if (now_s_ >= back_at_s_) {
        tape_ = Tape::kStopped;
        StartIfDue(false);
      }
    } else if (tape_ == Tape::kRunning) {
      AdvanceRunning(to_s);
    } else {
      now_s_ = to_s;
    }
  }
}

// Until `to_s`, or until the memory is empty (writing) or full (reading).
void TapeMechanics::AdvanceRunning(double to_s) {
  const double room = mode_ == Mode::kWriting
                          ? memory_bytes_
                          : std::min(options_.memory_bytes - memory_bytes_, behind_bytes_);
  const double run_s = std::min(to_s - now_s_, std::max(room, 0.0) / speed());
  const double moved = run_s * speed();
  busy_s_ += run_s;
  now_s_ += run_s;
  if (mode_ == Mode::kWriting) {
    memory_bytes_ = std::max(memory_bytes_ - moved, 0.0);
  } else {
    memory_bytes_ += moved;
    behind_bytes_ = std::max(behind_bytes_ - moved, 0.0);
  }
  if (now_s_ >= to_s) {
    return;
  }
  if (mode_ == Mode::kReading && behind_bytes_ <= 0) {
    tape_ = Tape::kStopped;  // at the end of data, which is not for want of a host
    return;
  }
  GoBack();
}

void TapeMechanics::GoBack() {
  ++stops_;
  tape_ = Tape::kGoingBack;
  back_at_s_ = now_s_ + options_.backhitch_s;
}

// Half a memory of data, or of room for data, is worth starting for.
void TapeMechanics::StartIfDue(bool even_if_not_due) {
  const double half = options_.memory_bytes / 2;
  const bool due =
      mode_ == Mode::kWriting ? memory_bytes_ >= half : memory_bytes_ <= half && behind_bytes_ > 0;
  if (tape_ == Tape::kStopped && (due || even_if_not_due)) {
    tape_ = Tape::kRunning;
  }
}

void TapeMechanics::CountHostBytes(double bytes) {
  window_bytes_ += bytes;
  ChooseSpeed();
}

// The highest speed that the host keeps up with.
void TapeMechanics::ChooseSpeed() {
  const double fill = memory_bytes_ / options_.memory_bytes;
  const bool host_is_ahead =
      mode_ == Mode::kWriting ? fill >= kNearlyFull : fill <= 1 - kNearlyFull;
  const bool host_is_behind = mode_ == Mode::kWriting ? fill <= 0.5 : fill >= 0.5;
  faster_ = (faster_ || host_is_ahead) && !host_is_behind;
  const double window_s = now_s_ - window_begun_s_;
  if (window_s < kWindow_s) {
    return;
  }
  const double host_s = std::max(window_s - window_waited_s_, 1e-9);
  const double rate_mb_s = window_bytes_ / host_s / 1e6;
  std::size_t index = 0;
  while (index + 1 < speeds_.size() && speeds_[index + 1] <= rate_mb_s) {
    ++index;
  }
  speed_index_ = std::min(index + (faster_ ? 1 : 0), speeds_.size() - 1);
  window_begun_s_ = now_s_;
  window_bytes_ = window_waited_s_ = 0;
}

void TapeMechanics::Enter(Mode mode) {
  CatchUp();
  if (mode_ == mode) {
    return;
  }
  Flush();
  mode_ = mode;
  tape_ = Tape::kStopped;
  memory_bytes_ = behind_bytes_ = 0;
  window_begun_s_ = now_s_;
  window_bytes_ = window_waited_s_ = 0;
  faster_ = false;
}

void TapeMechanics::Write(double bytes, double place) {
  Enter(Mode::kWriting);
  if (tape_ == Tape::kCoasted) {
    GoBack();
  }
  Wait(options_.command_s);
  const double most = std::max(options_.memory_bytes - bytes, 0.0);
  while (memory_bytes_ > most) {
    if (tape_ == Tape::kGoingBack) {
      Wait(back_at_s_ - now_s_);
    } else {
      StartIfDue(true);
      // A little more, so that rounding does not keep this waiting.
      Wait((memory_bytes_ - most) / speed() + 1e-9);
    }
  }
  memory_bytes_ += bytes;
  place_ = place;
  CountHostBytes(bytes);
  StartIfDue(false);
}

void TapeMechanics::Flush() {
  CatchUp();
  if (mode_ != Mode::kWriting || memory_bytes_ <= 0) {
    if (mode_ == Mode::kWriting && tape_ == Tape::kRunning) {
      tape_ = Tape::kCoasted;
    }
    return;
  }
  if (tape_ == Tape::kGoingBack) {
    Wait(back_at_s_ - now_s_);
  }
  StartIfDue(true);
  // That the memory runs empty was asked for: no stop, unless writing goes on.
  const std::uint32_t stops = stops_;
  Wait(memory_bytes_ / speed());
  stops_ = stops;
  memory_bytes_ = 0;
  tape_ = Tape::kCoasted;
}

void TapeMechanics::Read(double bytes, double place, double bytes_behind) {
  Enter(Mode::kReading);
  Wait(options_.command_s);
  behind_bytes_ = std::max(bytes + bytes_behind - memory_bytes_, 0.0);
  while (memory_bytes_ < bytes) {
    if (tape_ == Tape::kGoingBack) {
      Wait(back_at_s_ - now_s_);
    } else {
      StartIfDue(true);
      Wait((bytes - memory_bytes_) / speed() + 1e-9);
    }
    if (behind_bytes_ <= 0) {
      break;
    }
  }
  memory_bytes_ = std::max(memory_bytes_ - bytes, 0.0);
  place_ = place;
  CountHostBytes(bytes);
  StartIfDue(false);
}

void TapeMechanics::MoveFor(double seconds) {
  tape_ = Tape::kStopped;
  mode_ = Mode::kIdle;
  memory_bytes_ = behind_bytes_ = 0;
  Wait(seconds);
  busy_s_ += seconds;
}

void TapeMechanics::MoveTo(double place, Motion motion) {
  Flush();
  if (place == place_ && mode_ == Mode::kIdle) {
    return;
  }
  const double from = DistanceOf(place_, generation_.wraps);
  const double to = DistanceOf(place, generation_.wraps);
  const double wind_s = WindTime(generation_);
  const double fixed_s = motion == Motion::kRewind
                             ? std::max(generation_.times.rewind_average_s - wind_s / 2, 0.0)
                             : kLocateFixed_s;
  MoveFor(fixed_s + std::abs(to - from) * wind_s);
  place_ = place;
}

void TapeMechanics::Load() {
  CatchUp();
  MoveFor(generation_.times.load_s);
  place_ = 0;
}

void TapeMechanics::Unload() {
  if (place_ > 0) {
    Rewind();
  }
  MoveFor(generation_.times.unload_s);
  place_ = 0;
}

}  // namespace capstan::tape
