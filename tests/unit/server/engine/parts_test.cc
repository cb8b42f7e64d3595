// The small parts of the engine, each by itself.

#include <fstream>
#include <iterator>

#include <gmock/gmock.h>

#include "server/engine/buffer_plan.h"
#include "server/engine/error_log.h"
#include "server/engine/family_gate.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::engine {
namespace {

using test::HasReason;
using test::IsOk;
using testing::ElementsAre;

// S1-16 .. S1-22: SQL Server's published lines for 15 buffers of 983040 bytes and 3 devices.
TEST(BufferPlan, DescribesItselfInSqlServersLayout) {
  const auto plan = PlanBuffers({.buffer_count = 15,
                                 .max_transfer_size = 983040,
                                 .devices = 3,
                                 .volumes = 1,
                                 .memory_limit = 100 << 20});

  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(plan->Describe(),
              ElementsAre("BufferPoolLimit:          100 MB",
                          "Backup/Restore buffer configuration parameters",
                          "Memory Limit:             100 MB", "Buffer count:             15",
                          "Max transfer size:        983040", "Total buffer space:       14 MB",
                          "Buffers per read stream:  15", "Buffers per write stream: 5"));
}

// S1-09
TEST(BufferPlan, ChoosesForItselfWhenNothingIsAsked) {
  const auto plan = PlanBuffers({.devices = 2, .volumes = 1, .memory_limit = 1 << 30});

  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->buffer_count, 10U);
  EXPECT_EQ(plan->transfer_size, 1U << 20);
}

TEST(BufferPlan, StaysBelowTheLimitByItselfButNotAgainstARequest) {
  const auto chosen = PlanBuffers({.devices = 8, .volumes = 1, .memory_limit = 16 << 20});
  ASSERT_THAT(chosen, IsOk());
  EXPECT_EQ(chosen->buffer_count, 16U);

  EXPECT_THAT(
      PlanBuffers({.buffer_count = 17, .devices = 8, .volumes = 1, .memory_limit = 16 << 20}),
      HasReason(701));
}

// S1-15
TEST(ErrorLog, WritesSqlServersLines) {
  const test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/ERRORLOG";
  {
    const auto log = ErrorLog::Open(path);
    ASSERT_THAT(log, IsOk());
    (*log)->Write(51, "hello");
    (*log)->Write(0, "ready");
  }
  std::ifstream file(path);
  std::string first, second;
  std::getline(file, first);
  std::getline(file, second);

  EXPECT_THAT(first, testing::MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
                                           "\\.[0-9]{2} spid51    hello"));
  EXPECT_THAT(second, testing::EndsWith(" Server    ready"));
}

TEST(ErrorLog, SaysWhereItCannotBeOpened) {
  EXPECT_THAT(ErrorLog::Open("/nonexistent/ERRORLOG"), test::MessageHas("/nonexistent/ERRORLOG"));
}

FinishedFamily Finished(std::uint16_t number, std::uint64_t frames) {
  FinishedFamily family;
  family.target = "t" + std::to_string(number);
  family.seen = {.family_number = number, .frame_count = frames};
  family.trailer.families = {{.family_number = 1, .frame_count = 3},
                             {.family_number = 2, .frame_count = 4}};
  return family;
}

TEST(CheckWhole, RefusesAFamilyThatHoldsSomethingElseThanTheOthersSay) {
  EXPECT_THAT(CheckWhole({Finished(1, 3), Finished(2, 4)}), IsOk());
  EXPECT_THAT(CheckWhole({Finished(1, 3), Finished(2, 3)}), HasReason(3189));
  EXPECT_THAT(CheckWhole({Finished(3, 3)}), HasReason(3189));
}

}  // namespace
}  // namespace capstan::engine
