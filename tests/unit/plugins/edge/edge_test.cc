#include "plugins/edge/edge.h"

#include <cerrno>
#include <cstring>
#include <system_error>

#include <gmock/gmock.h>

namespace capstan::edge {
namespace {

constexpr Edge kForGood{.plugin = "disk"};
constexpr Edge kPassing{.plugin = "S3", .memory_may_come = true, .resources_may_come = true};

Failure NoMemory() {
  throw std::bad_alloc();
}

Failure NoThread() {
  throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
}

// With rubbish in it, as nothing of that may remain.
capstan_error Used() {
  capstan_error error;
  std::memset(&error, 'x', sizeof(error));
  return error;
}

TEST(Edge, SuccessIsZeroAndTouchesNoError) {
  capstan_error error{};

  EXPECT_EQ(kForGood.Run(&error, [] { return Failure::None(); }), 0);

  EXPECT_EQ(error.os_error, 0);
  EXPECT_STREQ(error.message, "");
}

TEST(Edge, AFailureFillsTheError) {
  capstan_error error = Used();

  EXPECT_EQ(kForGood.Run(&error, [] { return Failure::Of(EBUSY, "busy", "wait").MayPass(); }), -1);

  EXPECT_EQ(error.os_error, EBUSY);
  EXPECT_EQ(error.flags, CAPSTAN_ERROR_TRANSIENT);
  EXPECT_STREQ(error.message, "busy");
  EXPECT_STREQ(error.hint, "wait");
}

TEST(Edge, WantOfMemoryIsAFailureOfThePlugin) {
  capstan_error error = Used();

  EXPECT_EQ(kForGood.Run(&error, NoMemory), -1);

  EXPECT_EQ(error.os_error, ENOMEM);
  EXPECT_EQ(error.flags, 0U);
  EXPECT_STREQ(error.message, "the disk plugin is out of memory");
  EXPECT_STREQ(error.hint, "");
}

TEST(Edge, AnyOtherExceptionIsWantOfResources) {
  capstan_error error = Used();

  EXPECT_EQ(kForGood.Run(&error, NoThread), -1);

  EXPECT_EQ(error.os_error, EAGAIN);
  EXPECT_EQ(error.flags, 0U);
  EXPECT_STREQ(error.message, "the disk plugin lacks resources of the system");
  EXPECT_STREQ(error.hint, "");
}

TEST(Edge, SaysWhatMayPassByItself) {
  capstan_error error = Used();

  EXPECT_EQ(kPassing.Run(&error, NoMemory), -1);
  EXPECT_EQ(error.flags, CAPSTAN_ERROR_TRANSIENT);
  EXPECT_STREQ(error.message, "the S3 plugin is out of memory");
  EXPECT_EQ(kPassing.Run(&error, NoThread), -1);
  EXPECT_EQ(error.flags, CAPSTAN_ERROR_TRANSIENT);

  constexpr Edge kResourcesOnly{.plugin = "tape", .resources_may_come = true};
  EXPECT_EQ(kResourcesOnly.Run(&error, NoMemory), -1);
  EXPECT_EQ(error.flags, 0U);
  EXPECT_EQ(kResourcesOnly.Run(&error, NoThread), -1);
  EXPECT_EQ(error.flags, CAPSTAN_ERROR_TRANSIENT);
}

TEST(Edge, RefusesAnOlderAgentAndUnknownModes) {
  capstan_open_params params{};
  params.struct_size = sizeof(params);
  for (std::uint32_t mode = CAPSTAN_OPEN_READ; mode <= CAPSTAN_OPEN_APPEND; ++mode) {
    params.mode = mode;
    EXPECT_FALSE(kForGood.CheckOpen(params).failed()) << mode;
  }
  params.mode = CAPSTAN_OPEN_APPEND + 1;
  EXPECT_EQ(kForGood.CheckOpen(params).message, "unknown open mode " + std::to_string(params.mode));

  params.mode = CAPSTAN_OPEN_READ;
  params.struct_size = sizeof(params) - 1;
  const Failure failure = kForGood.CheckOpen(params);

  EXPECT_EQ(failure.os_error, EINVAL);
  EXPECT_EQ(failure.message, "the agent is older than the disk plugin");
}

TEST(Edge, TakesOnlyFlagsThatItKnowsAndResumesOnlyNewMedia) {
  constexpr Edge kResuming{.plugin = "disk", .open_flags = CAPSTAN_OPEN_RESUME};
  capstan_open_params params{};
  params.struct_size = sizeof(params);
  params.flags = CAPSTAN_OPEN_RESUME;
  for (std::uint32_t mode = CAPSTAN_OPEN_READ; mode <= CAPSTAN_OPEN_APPEND; ++mode) {
    params.mode = mode;
    const bool begins = mode == CAPSTAN_OPEN_REPLACE || mode == CAPSTAN_OPEN_CREATE;
    EXPECT_EQ(kResuming.CheckOpen(params).os_error, begins ? 0 : EINVAL) << mode;
    EXPECT_EQ(kForGood.CheckOpen(params).message, "unknown open flags 1") << mode;
  }
  params.mode = CAPSTAN_OPEN_CREATE;
  params.flags = CAPSTAN_OPEN_RESUME | 0x2U;

  EXPECT_EQ(kResuming.CheckOpen(params).message, "unknown open flags 3");
}

}  // namespace
}  // namespace capstan::edge
