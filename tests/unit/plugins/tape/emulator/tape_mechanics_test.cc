// The time model: averages near what is published, and what slow hosts do to a tape.
#include "plugins/tape/emulator/tape_mechanics.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace capstan::tape {
namespace {

using testing::DoubleNear;

class ManualClock final : public HostClock {
 public:
  std::uint64_t NowUs() override { return static_cast<std::uint64_t>(now_us_); }
  void SleepUs(std::uint64_t duration) override {
    slept_us_ += duration;
    now_us_ += static_cast<double>(duration);
  }
  void Pass(double seconds) { now_us_ += seconds * 1e6; }
  std::uint64_t slept_us() const { return slept_us_; }

 private:
  double now_us_ = 0;
  std::uint64_t slept_us_ = 0;
};

constexpr double kBlock = 1e6;

// `total` bytes at `rate_mb_s`; 0 = as fast as the drive takes them. Returns the seconds until all
// is on the medium.
double WriteAll(TapeMechanics& tape, ManualClock& clock, double total, double rate_mb_s) {
  const double begun = tape.now_s();
  for (double done = 0; done < total; done += kBlock) {
    clock.Pass(rate_mb_s > 0 ? kBlock / rate_mb_s / 1e6 : 0);
    tape.Write(kBlock, done / 12e12);
  }
  tape.Flush();
  return tape.now_s() - begun;
}

TEST(TapeMechanics, AveragesAreNearThePublishedOnes) {
  for (const char* const name : {"LTO-5", "LTO-6", "LTO-7", "M8", "LTO-8", "LTO-9"}) {
    SCOPED_TRACE(name);
    const Generation& generation = *FindGeneration(name);
    ManualClock clock;
    TapeMechanics tape(generation, {}, &clock);
    constexpr int kPlaces = 5'000;
    double locating = 0;
    double rewinding = 0;

    for (int i = 0; i < kPlaces; ++i) {
      // Evenly spread, in any order; not exactly on the ends of tracks.
      const double place = std::fmod(0.5 + i * 0.6180339887498949, 1.0);
      const double begun = tape.now_s();
      tape.Locate(place);
      const double located = tape.now_s();
      tape.Rewind();
      locating += located - begun;
      rewinding += tape.now_s() - located;
    }

    EXPECT_THAT(locating / kPlaces, DoubleNear(generation.times.locate_average_s, 1.0));
    EXPECT_THAT(rewinding / kPlaces, DoubleNear(generation.times.rewind_average_s, 1.0));
    EXPECT_THAT(tape.busy_s(), DoubleNear(tape.now_s(), 1e-6));
    const double begun = tape.now_s();
    tape.Load();
    EXPECT_DOUBLE_EQ(tape.now_s() - begun, generation.times.load_s);
  }
}

TEST(TapeMechanics, TracksRunToAndFro) {
  ManualClock clock;
  TapeMechanics tape(*FindGeneration("LTO-8"), {}, &clock);
  const double track = 1.0 / 208;

  tape.Locate(1.999 * track);  // the end of the second track lies over the beginning
  const double near = tape.now_s();
  tape.Rewind();
  const double rewound = tape.now_s();
  tape.Locate(0.999 * track);
  const double far = tape.now_s() - rewound;

  EXPECT_THAT(near, DoubleNear(3, 0.2));
  EXPECT_THAT(rewound - near, DoubleNear(3, 0.2));
  EXPECT_THAT(far, DoubleNear(115, 0.5));
}

TEST(TapeMechanics, HostThatIsFastEnoughNeverStopsTheTape) {
  ManualClock clock;
  TapeMechanics tape(*FindGeneration("LTO-8"), {}, &clock);

  const double seconds = WriteAll(tape, clock, 36e9, 0);

  EXPECT_EQ(tape.stops(), 0U);
  EXPECT_THAT(seconds, DoubleNear(100, 3));  // 36 GB at 360 MB/s
}

// Between two speeds the memory balances.
TEST(TapeMechanics, TapeRunsAtTheHostsSpeed) {
  for (const double rate : {113.0, 130.0, 200.0, 350.0}) {
    SCOPED_TRACE(rate);
    ManualClock clock;
    TapeMechanics tape(*FindGeneration("LTO-8"), {.command_s = 0}, &clock);

    const double seconds = WriteAll(tape, clock, 100e9, rate);

    EXPECT_EQ(tape.stops(), 0U);
    EXPECT_THAT(seconds, DoubleNear(100e3 / rate, 10));
  }
}

// At 50 MB/s half a memory (500 MB) lasts 500 / (112 - 50) = 8.06 s, and takes 10 s to come again,
// of which the tape goes back for 3: a stop for each 18.06 s * 50 MB/s = 903 MB. The host does not
// wait.
TEST(TapeMechanics, SlowHostStopsTheTapeAgainAndAgain) {
  ManualClock clock;
  TapeMechanics tape(*FindGeneration("LTO-8"), {.command_s = 0}, &clock);

  const double seconds = WriteAll(tape, clock, 100e9, 50);

  EXPECT_THAT(tape.stops(), testing::AllOf(testing::Ge(108U), testing::Le(112U)));  // 100e9 / 903e6
  EXPECT_THAT(seconds, DoubleNear(2000, 10));
  // It runs at 112 MB/s, and goes back.
  EXPECT_THAT(tape.busy_s(), DoubleNear(100e9 / 112e6 + 3.0 * tape.stops(), 10));
}

TEST(TapeMechanics, SlowReaderStopsTheTapeAsWell) {
  ManualClock clock;
  TapeMechanics tape(*FindGeneration("LTO-8"), {.command_s = 0}, &clock);
  constexpr double kTotal = 50e9;

  for (double done = 0; done < kTotal; done += kBlock) {
    clock.Pass(kBlock / 50e6);
    tape.Read(kBlock, done / 12e12, kTotal - done - kBlock);
  }

  EXPECT_THAT(tape.stops(), testing::AllOf(testing::Ge(50U), testing::Le(57U)));
  EXPECT_THAT(tape.now_s(), DoubleNear(1000, 10));
}

TEST(TapeMechanics, FastReaderWaitsForTheTape) {
  ManualClock clock;
  TapeMechanics tape(*FindGeneration("LTO-8"), {.command_s = 0}, &clock);

  for (double done = 0; done < 36e9; done += kBlock) {
    tape.Read(kBlock, done / 12e12, 36e9 - done - kBlock);
  }

  EXPECT_EQ(tape.stops(), 0U);
  EXPECT_THAT(tape.now_s(), DoubleNear(100, 3));
}

// 1 GB at 360 MB/s takes 2.8 s, going back 3 s: half the speed.
TEST(TapeMechanics, FlushForEachFileCostsABackhitchEach) {
  ManualClock clock;
  TapeMechanics tape(*FindGeneration("LTO-8"), {}, &clock);

  double seconds = 0;
  for (int file = 0; file < 10; ++file) {
    seconds += WriteAll(tape, clock, 1e9, 0);
  }

  EXPECT_EQ(tape.stops(), 9U);
  EXPECT_THAT(seconds, DoubleNear(10 / 0.36 + 9 * 3, 2));
}

TEST(TapeMechanics, SmallBlocksAreSlow) {
  ManualClock clock;
  TapeMechanics tape(*FindGeneration("LTO-8"), {}, &clock);

  for (int i = 0; i < 1'000'000; ++i) {
    tape.Write(512, 0);
  }
  tape.Flush();

  EXPECT_GT(tape.now_s(), 20);  // 512 MB
}

TEST(TapeMechanics, SleepsAtTheScaleOfTheClock) {
  ManualClock clock;
  TapeMechanics tape(*FindGeneration("LTO-8"), {.clock_scale = 0.01}, &clock);

  tape.Load();
  tape.Locate(0.5);
  const double moved = tape.now_s();
  WriteAll(tape, clock, 3.6e9, 0);

  EXPECT_THAT(tape.now_s() - moved, DoubleNear(10, 1));
  EXPECT_THAT(static_cast<double>(clock.slept_us()) / 1e6, DoubleNear(tape.now_s() / 100, 0.01));
}

}  // namespace
}  // namespace capstan::tape
