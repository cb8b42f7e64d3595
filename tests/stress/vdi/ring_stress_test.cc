// Two threads over one mapping, as two processes would be: order, completeness, and that nobody
// sleeps through a post. Under ThreadSanitizer this checks the ordering argument of vdi/segment.md;
// without it, it shows lost and torn records, but no missing barrier that this processor forgives.
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "vdi/spsc_ring.h"
#include "vdi/wake.h"

namespace capstan::vdi {
namespace {

constexpr std::chrono::seconds kDuration{2};

CommandRecord RecordOf(std::uint64_t number) {
  CommandRecord record{};
  record.id = number;
  record.position = static_cast<std::int64_t>(~number);
  record.buffer_offset = number * 3;
  record.size = static_cast<std::uint32_t>(number);
  return record;
}

bool IsWhole(const CommandRecord& record, std::uint64_t number) {
  return record.id == number && record.position == static_cast<std::int64_t>(~number) &&
         record.buffer_offset == number * 3 && record.size == static_cast<std::uint32_t>(number);
}

struct Shared {
  Ring<CommandRecord> ring{};
  SleepWord consumer_sleep{};
};

// `lull` posts in a row, then a pause long enough for the consumer to go to sleep.
void Fight(std::uint64_t lull) {
  const auto shared = std::make_unique<Shared>();
  const Deadline end = Deadline::After(kDuration);
  std::atomic<std::uint64_t> posted{0};
  std::atomic<bool> over{false};
  std::jthread producer([&] {
    RingProducer<CommandRecord> ring(shared->ring);
    std::uint64_t number = 0;
    while (!end.passed()) {
      for (std::uint64_t i = 0; i < lull; ++i) {
        while (ring.Post(RecordOf(number)) != RingResult::kDone) {
          std::this_thread::yield();
        }
        WakeIfAsleep(shared->consumer_sleep);
        ++number;
      }
      if (lull < 1000) {
        // The scenario is the race between this thread's post and the other's falling asleep.
        while (shared->consumer_sleep.asleep.load() == 0 && !end.passed()) {
        }
      }
    }
    posted.store(number);
    over.store(true);
    WakeIfAsleep(shared->consumer_sleep);
  });

  RingConsumer<CommandRecord> ring(shared->ring);
  SpinBudget spin;
  std::uint64_t taken = 0;
  int long_naps = 0;
  CommandRecord record{};
  for (;;) {
    const auto before = Deadline::Clock::now();
    const bool ready = WaitForWork(shared->consumer_sleep, spin, Deadline::After(kNapMax * 10),
                                   [&] { return ring.Ready() || over.load(); });
    // A wake that got lost shows as a nap that lasted to its end although there was work; so does,
    // rarely, a machine that did not let this thread run for so long.
    if (ready && Deadline::Clock::now() - before >= kNapMax) {
      ASSERT_LE(++long_naps, 2) << "slept through posts";
    }
    const RingResult result = ring.Take(record);
    ASSERT_NE(result, RingResult::kCorrupt);
    if (result == RingResult::kDone) {
      ASSERT_TRUE(IsWhole(record, taken)) << "record " << taken;
      ++taken;
    } else if (over.load()) {
      break;
    }
  }
  while (ring.Take(record) == RingResult::kDone) {
    ++taken;
  }
  EXPECT_EQ(taken, posted.load());
  EXPECT_GT(taken, 0U);
}

TEST(RingStress, RecordsArriveWholeAndInOrder) {
  Fight(100000);
}

TEST(RingStress, NobodySleepsThroughAPost) {
  Fight(1);
}

}  // namespace
}  // namespace capstan::vdi
