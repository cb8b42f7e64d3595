// TapeMechanics: how long a drive's mechanics would have taken, and how often the tape would have
// stopped for want of data. A model; it moves no bytes.
//
// Tracks run to and fro over the whole tape, so that a place is a distance along it, and neighbours
// in number can be minutes apart. While data move, the tape runs at one of a few speeds with a
// memory in between. If the host is slower than the slowest, the memory runs empty, the tape stops,
// goes back and waits until the memory is half full: a backhitch.
//
// Time is the host's own, and what the model makes it wait: slept at `clock_scale`, or only
// counted.
//
// Threads: one.
#pragma once

#include <cstdint>

#include "plugins/tape/emulator/generation.h"

namespace capstan::tape {

// The host's time.
class HostClock {
 public:
  virtual ~HostClock() = default;
  virtual std::uint64_t NowUs() = 0;
  virtual void SleepUs(std::uint64_t duration) = 0;

  // Borrowed, lives as long as the program.
  static HostClock* Steady();
};

struct MechanicsOptions {
  double clock_scale = 0;  // seconds slept for a second of the model; 0 = none
  double memory_bytes = 1e9;
  double backhitch_s = 3;
  double command_s = 20e-6;  // each block costs the drive that much, whatever its size
};

class TapeMechanics {
 public:
  // Borrows the clock. REQUIRES: the generation's times are known.
  TapeMechanics(const Generation& generation, const MechanicsOptions& options, HostClock* clock);

  // Places are fractions of the tape's capacity, 0 to 1.
  void Load();
  void Unload();
  void Rewind() { MoveTo(0, Motion::kRewind); }
  void Locate(double place) { MoveTo(place, Motion::kLocate); }
  // One block; `place` is behind it.
  void Write(double bytes, double place);
  // `bytes_behind` are recorded behind the block.
  void Read(double bytes, double place, double bytes_behind);
  // Until the medium has all that was written.
  void Flush();

  std::uint32_t stops() const { return stops_; }
  double busy_s() const { return busy_s_; }  // something moved
  double now_s() const { return now_s_; }    // since the model was made
  double place() const { return place_; }

 private:
  enum class Motion { kRewind, kLocate };
  enum class Mode { kIdle, kWriting, kReading };
  enum class Tape {
    kStopped,
    kRunning,
    kGoingBack,  // until back_at_s_
    kCoasted,    // stopped behind a flush: going back comes with the next block
  };

  void Enter(Mode mode);
  void CatchUp();
  void Advance(double to_s);
  void AdvanceRunning(double to_s);
  void Wait(double seconds);
  void MoveFor(double seconds);
  void MoveTo(double place, Motion motion);
  void StartIfDue(bool even_if_not_due);
  void GoBack();
  void CountHostBytes(double bytes);
  void ChooseSpeed();
  double speed() const { return speeds_[speed_index_] * 1e6; }

  const Generation& generation_;
  const std::span<const double> speeds_;
  const MechanicsOptions options_;
  HostClock* const clock_;
  const std::uint64_t begun_us_;

  double now_s_ = 0;
  double unslept_s_ = 0;  // waits that the host's clock knows nothing of
  double owed_s_ = 0;     // to be slept, when it is worth it
  double busy_s_ = 0;
  std::uint32_t stops_ = 0;

  Mode mode_ = Mode::kIdle;
  Tape tape_ = Tape::kStopped;
  double place_ = 0;
  double back_at_s_ = 0;
  double memory_bytes_ = 0;  // written and not on the medium yet, or read ahead
  double behind_bytes_ = 0;  // reading: recorded and not in the memory yet
  std::size_t speed_index_ = 0;
  bool faster_ = false;  // the memory shows that the host is faster than measured
  double window_bytes_ = 0;
  double window_begun_s_ = 0;
  double window_waited_s_ = 0;
};

}  // namespace capstan::tape
