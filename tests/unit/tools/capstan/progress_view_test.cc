#include "tools/capstan/progress_view.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kMebibyte = 1 << 20;

Progress HalfDone() {
  Progress progress{.job_id = 51,
                    .phase = "Reading data",
                    .percent = 50,
                    .bytes_done = 512 * kMebibyte,
                    .bytes_total = 1024 * kMebibyte,
                    .elapsed_ms = 2000,
                    .devices = {}};
  for (const char* const name : {"/backup/a.bak", "/backup/other/b.bak"}) {
    progress.devices.push_back({.name = name,
                                .agent = "disk",
                                .bytes = 256 * kMebibyte,
                                .bytes_per_second_now = 128 * kMebibyte,
                                .bytes_per_second_mean = 127 * kMebibyte,
                                .in_flight = 6,
                                .state = "writing"});
  }
  return progress;
}

TEST(RenderProgress, ShowsTotalAndEveryDevice) {
  EXPECT_THAT(
      RenderProgress(HalfDone(), {.columns = 120, .lines = 24}),
      ElementsAre(
          "[####################--------------------]  50.0 %  256.0 MiB/s  ETA 0:00:02  512.0 MiB "
          "of 1.0 GiB  Reading data",
          "  /backup/a.bak         256.0 MiB   128.0 MiB/s  mean  127.0 MiB/s    6 in flight  "
          "writing",
          "  /backup/other/b.bak   256.0 MiB   128.0 MiB/s  mean  127.0 MiB/s    6 in flight  "
          "writing"));
}

TEST(RenderProgress, LeavesOutWhatDoesNotFit) {
  EXPECT_THAT(RenderProgress(HalfDone(), {.columns = 60, .lines = 24}),
              ElementsAre(HasSubstr("256.0 MiB/s  ETA 0:00:02  512.0 MiB of 1.0 GiB"),
                          HasSubstr("256.0 MiB   128.0 MiB/s"), HasSubstr("128.0 MiB/s")));
  EXPECT_THAT(RenderProgress(HalfDone(), {.columns = 60, .lines = 24})[1],
              Not(HasSubstr("in flight")));
}

TEST(RenderProgress, FitsEveryWidthAndHeight) {
  Progress progress = HalfDone();
  progress.devices[0].name = "/\xE6\x97\xA5\xE6\x9C\xAC/\xE6\x97\xA5\xE6\x9C\xAC\x1b[2J.bak";
  progress.devices.insert(progress.devices.end(), 62, progress.devices[1]);
  for (int columns = 1; columns <= 200; ++columns) {
    for (const int lines : {2, 3, 5, 24, 100}) {
      const std::vector<std::string> block =
          RenderProgress(progress, {.columns = columns, .lines = lines});
      ASSERT_LT(static_cast<int>(block.size()), lines) << columns << "x" << lines;
      for (const std::string& line : block) {
        ASSERT_LE(DisplayWidth(line), columns) << line;
        ASSERT_EQ(line, Printable(line));
      }
    }
  }
}

TEST(RenderProgress, SaysHowManyDevicesItHides) {
  Progress progress = HalfDone();
  progress.devices.insert(progress.devices.end(), 62, progress.devices[1]);

  const std::vector<std::string> block = RenderProgress(progress, {.columns = 80, .lines = 10});

  ASSERT_EQ(block.size(), 9u);
  EXPECT_EQ(block.back(), "  ... and 57 more devices");
}

TEST(RenderProgress, SaysNothingItDoesNotKnow) {
  Progress progress = HalfDone();
  progress.bytes_total = 0;
  progress.percent = 0;
  progress.devices.clear();

  const std::vector<std::string> block = RenderProgress(progress, {.columns = 100, .lines = 24});

  EXPECT_THAT(block, ElementsAre(HasSubstr("  0.0 %  256.0 MiB/s  512.0 MiB  Reading data")));
  EXPECT_THAT(block[0], Not(HasSubstr("ETA")));
}

TEST(RenderProgress, ReachesTheEndOnlyAtTheEnd) {
  Progress progress = HalfDone();
  progress.percent = 99.99;
  EXPECT_THAT(RenderProgress(progress, {})[0], HasSubstr(" 99.9 %"));
  progress.percent = 100;
  EXPECT_THAT(RenderProgress(progress, {})[0], HasSubstr("100.0 %"));
  progress.percent = std::nan("");
  EXPECT_THAT(RenderProgress(progress, {})[0], HasSubstr("  0.0 %"));
}

TEST(RenderSummary, HasALinePerDevice) {
  EXPECT_THAT(RenderSummary(HalfDone()),
              ElementsAre("/backup/a.bak (disk): 256.0 MiB, mean 127.0 MiB/s",
                          "/backup/other/b.bak (disk): 256.0 MiB, mean 127.0 MiB/s"));
}

TEST(RenderTop, ScalesBarsToTheFastest) {
  const std::vector<TopDevice> devices = {{.session = "51",
                                           .device = "/b/a.bak",
                                           .agent = "disk",
                                           .state = "writing",
                                           .bytes = kMebibyte,
                                           .bytes_per_second_now = 50 * kMebibyte,
                                           .bytes_per_second_mean = 40 * kMebibyte,
                                           .in_flight = "4",
                                           .wait = "",
                                           .errors = "0"}};

  EXPECT_THAT(RenderTop(devices, 100 * kMebibyte, {.columns = 120, .lines = 24}),
              ElementsAre(HasSubstr("device"),
                          "    51  [##########----------]    50.0 MiB/s    40.0 MiB/s     1.0 MiB  "
                          "/b/a.bak disk  4 in flight  writing"));
  EXPECT_THAT(RenderTop(devices, 0, {.columns = 120, .lines = 24})[1],
              HasSubstr("[--------------------]"));
  for (int columns = 1; columns <= 150; ++columns) {
    for (const std::string& line : RenderTop(devices, 1, {.columns = columns, .lines = 24})) {
      ASSERT_LE(DisplayWidth(line), columns) << line;
    }
  }
}

}  // namespace
}  // namespace capstan::cli
