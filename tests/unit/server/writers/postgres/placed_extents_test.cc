#include "server/writers/postgres/placed_extents.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;

class PlacedExtentsTest : public testing::Test {
 protected:
  Result<std::unique_ptr<PlacedExtents>> Create() {
    return PlacedExtents::Create(folder_.path(), "job",
                                 {.user = ::geteuid(), .group = ::getegid()});
  }
  static PlacedExtent Sample(std::uint32_t number) {
    return {.extent = {.file_index = number % 3, .offset = number * 1000ULL, .length = 1000},
            .end = std::vector<std::byte>(20 + number, std::byte{7}),
            .apart = std::vector<std::byte>(number, std::byte{8})};
  }
  void AddSamples(PlacedExtents& extents, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_THAT(extents.Add(Sample(i)), IsOk());
    }
  }
  // How many of the samples are there, from the first on, as they were added.
  static std::uint32_t CountSamples(const PlacedExtents& extents) {
    for (std::uint32_t i = 0;; ++i) {
      const PlacedExtent wanted = Sample(i);
      const auto found = extents.Find(wanted.extent);
      EXPECT_THAT(found, IsOk());
      if (!found.ok() || !*found) {
        return i;
      }
      EXPECT_EQ((*found)->extent.length, wanted.extent.length);
      EXPECT_EQ((*found)->end, wanted.end);
      EXPECT_EQ((*found)->apart, wanted.apart);
    }
  }

  test::TemporaryDirectory folder_;
  const std::string path_ = folder_.Under("capstan.extents");
};

TEST_F(PlacedExtentsTest, AreFoundByWhoGoesOn) {
  {
    auto extents = Create();
    ASSERT_THAT(extents, IsOk());
    AddSamples(**extents, 10);
    EXPECT_THAT((*extents)->Sync(), IsOk());
    EXPECT_EQ(CountSamples(**extents), 0U) << "only what was there when it was opened";
  }
  EXPECT_TRUE(PlacedExtents::IsThere(folder_.path(), "job"));
  {
    auto extents = PlacedExtents::Open(folder_.path(), "job");
    ASSERT_THAT(extents, IsOk());
    EXPECT_EQ(CountSamples(**extents), 10U);
    Extent other = Sample(3).extent;
    other.length += 1;
    EXPECT_FALSE((*extents)->Find(other).value().has_value());
    ASSERT_THAT((*extents)->Add(Sample(10)), IsOk());
  }
  EXPECT_EQ(CountSamples(**PlacedExtents::Open(folder_.path(), "job")), 11U);
}

TEST_F(PlacedExtentsTest, CountAsTheyWereAddedLast) {
  PlacedExtent again = Sample(1);
  {
    auto extents = Create();
    ASSERT_THAT(extents, IsOk());
    AddSamples(**extents, 3);
    again.end = {std::byte{1}};
    ASSERT_THAT((*extents)->Add(again), IsOk());
  }
  const auto extents = PlacedExtents::Open(folder_.path(), "job");
  ASSERT_THAT(extents, IsOk());
  EXPECT_EQ((*extents)->Find(again.extent).value()->end, again.end);
}

TEST_F(PlacedExtentsTest, BelongToOneRestore) {
  EXPECT_THAT(PlacedExtents::Open(folder_.path(), "job"), HasCode(Code::kNotFound));
  { AddSamples(**Create(), 2); }
  EXPECT_THAT(PlacedExtents::Open(folder_.path(), "jo"), HasCode(Code::kNotFound));
  EXPECT_FALSE(PlacedExtents::IsThere(folder_.path(), "job2"));
  { ASSERT_THAT(Create(), IsOk()); }  // another one begins
  EXPECT_EQ(CountSamples(**PlacedExtents::Open(folder_.path(), "job")), 0U);
  EXPECT_THAT(PlacedExtents::Remove(folder_.path()), IsOk());
  EXPECT_THAT(PlacedExtents::Remove(folder_.path()), IsOk()) << "idempotent";
  EXPECT_FALSE(PlacedExtents::IsThere(folder_.path(), "job"));
}

// A crash may leave any beginning of the file.
TEST_F(PlacedExtentsTest, EndWhereTheFileWasCut) {
  std::vector<std::uintmax_t> ends;
  {
    auto extents = Create();
    ASSERT_THAT(extents, IsOk());
    for (std::uint32_t i = 0; i <= 5; ++i) {
      ends.push_back(std::filesystem::file_size(path_));
      ASSERT_THAT((*extents)->Add(Sample(i)), IsOk());
    }
  }
  const std::string copy = folder_.Under("copy");
  std::filesystem::copy_file(path_, copy);
  for (std::uintmax_t size = 0; size < ends.back(); ++size) {
    std::filesystem::copy_file(copy, path_, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(path_, size);
    const auto extents = PlacedExtents::Open(folder_.path(), "job");
    if (size < ends.front()) {
      EXPECT_THAT(extents, HasCode(Code::kNotFound)) << size;
      continue;
    }
    ASSERT_THAT(extents, IsOk()) << size;
    const auto whole =
        static_cast<std::uint32_t>(std::ranges::upper_bound(ends, size) - ends.begin() - 1);
    EXPECT_EQ(CountSamples(**extents), whole) << size;
    EXPECT_EQ(std::filesystem::file_size(path_), ends[whole]) << size;
  }
}

TEST_F(PlacedExtentsTest, EndWhereTheFileIsDamaged) {
  { AddSamples(**Create(), 5); }
  const auto size = std::filesystem::file_size(path_);
  std::FILE* const file = std::fopen(path_.c_str(), "r+");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(std::fseek(file, static_cast<long>(size) - 60, SEEK_SET), 0);
  ASSERT_EQ(std::fputc('?', file), '?');
  ASSERT_EQ(std::fclose(file), 0);

  const auto extents = PlacedExtents::Open(folder_.path(), "job");

  ASSERT_THAT(extents, IsOk());
  EXPECT_LT(CountSamples(**extents), 5U);
  ASSERT_THAT((*extents)->Add(Sample(9)), IsOk());
  EXPECT_TRUE(
      (*PlacedExtents::Open(folder_.path(), "job"))->Find(Sample(9).extent).value().has_value());
}

TEST_F(PlacedExtentsTest, SayWhatCannotBeReadOrWritten) {
  { AddSamples(**Create(), 5); }
  const auto extents = PlacedExtents::Open(folder_.path(), "job");
  ASSERT_THAT(extents, IsOk());
  std::filesystem::resize_file(path_, 60);
  EXPECT_THAT((*extents)->Find(Sample(4).extent), HasCode(Code::kDataLoss));

  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_THAT(PlacedExtents::Open(folder_.path(), "job"), HasReason(65006));
  EXPECT_FALSE(Create().ok());
  EXPECT_FALSE(PlacedExtents::IsThere(folder_.path(), "job"));
  EXPECT_FALSE(PlacedExtents::Remove(folder_.path()).ok());
  std::filesystem::remove(path_);
  std::filesystem::create_symlink("/etc/passwd", path_);
  EXPECT_THAT(PlacedExtents::Open(folder_.path(), "job"), HasReason(65006)) << "follows no link";
}

TEST_F(PlacedExtentsTest, AFileThatCannotGrowIsAnError) {
  auto extents = Create();
  ASSERT_THAT(extents, IsOk());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit{.rlim_cur = 100, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_THAT((*extents)->Add(Sample(100)), HasReason(65006));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  AddSamples(**extents, 2);
  EXPECT_EQ(CountSamples(**PlacedExtents::Open(folder_.path(), "job")), 2U);
}

TEST_F(PlacedExtentsTest, AreAddedBySeveralThreads) {
  {
    auto extents = Create();
    ASSERT_THAT(extents, IsOk());
    std::atomic<std::uint32_t> next{0};
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        for (std::uint32_t number = next++; number < 300; number = next++) {
          EXPECT_THAT((*extents)->Add(Sample(number)), IsOk());
        }
      });
    }
    EXPECT_THAT((*extents)->Sync(), IsOk());
  }
  EXPECT_EQ(CountSamples(**PlacedExtents::Open(folder_.path(), "job")), 300U);
}

}  // namespace
}  // namespace capstan::writers
