// A restore of an SQLite database that is interrupted and gone on with (S0-50).

#include <array>
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

using Leaves = std::vector<std::string>;

class SqliteResumedRestore : public testing::Test {
 protected:
  void SetUp() override {
    TemporaryDirectory other;
    MakeDatabase(other.Under("source.db"), "WAL", 1000);
    const auto image = BackUp(writer_, other.Under("source.db"));
    ASSERT_THAT(image, IsOk());
    image_ = *image;
    half_ = static_cast<std::uint32_t>(image_.size() / 2 / 100 * 100);  // no page's boundary
  }

  Result<std::unique_ptr<RestoreSession>> Begin(bool resume, const std::string& job = "job-1") {
    const RestoreTarget target = TargetFor(path_, image_);
    return writer_.BeginRestore(
        {&target, 1},
        {.replace = true, .job_name = job, .lock_deadline = Deadline::Now(), .resume = resume});
  }
  Status Write(RestoreSession& session, std::uint64_t from, std::uint64_t to) {
    return session.WriteExtent(
        {.file_index = 0, .offset = from, .length = static_cast<std::uint32_t>(to - from)},
        std::as_bytes(std::span(image_).subspan(from, to - from)));
  }
  // What a crash leaves after a checkpoint of the first half: a session that nobody ended.
  void LeaveHalf() {
    auto session = Begin(false);
    ASSERT_THAT(session, IsOk());
    ASSERT_THAT(Write(**session, 0, half_), IsOk());
    ASSERT_THAT((*session)->Checkpoint(), IsOk());
    EXPECT_TRUE((*session)->Keep());
  }

  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
  const std::string unfinished_ = scratch_.Under(".a.db.job-1.capstan-restore");
  SqliteWriter writer_;
  std::string image_;
  std::uint32_t half_ = 0;
};

TEST_F(SqliteResumedRestore, GoesOnWithWhatWasKept) {
  MakeDatabase(path_, "WAL", 50);
  LeaveHalf();
  EXPECT_EQ(ReadWhole(unfinished_).substr(0, half_), image_.substr(0, half_));
  EXPECT_TRUE(writer_.KeepRestore(path_, "job-1").value());

  auto session = Begin(true);
  ASSERT_THAT(session, IsOk());
  const Extent first{.file_index = 0, .offset = 0, .length = half_};
  std::string back(half_, '?');
  ASSERT_THAT((*session)->ReadBack(first, std::as_writable_bytes(std::span(back))), IsOk());
  EXPECT_TRUE(back == image_.substr(0, half_));
  (*session)->Adopt(first);
  ASSERT_THAT(Write(**session, half_, image_.size()), IsOk());
  EXPECT_THAT((*session)->Commit(), IsOk());

  EXPECT_TRUE(ReadWhole(path_) == image_);
  EXPECT_EQ(FaultOf(path_), "");
  session->reset();
  EXPECT_EQ(scratch_.Leaves(), Leaves{"a.db"});
}

TEST_F(SqliteResumedRestore, WhatWasNotAdoptedIsMissing) {
  LeaveHalf();
  auto session = Begin(true);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(Write(**session, half_, image_.size()), IsOk());

  EXPECT_THAT((*session)->Commit(), MessageHas("bytes were written"));

  session->reset();
  EXPECT_EQ(scratch_.Leaves(), Leaves{}) << "it was not kept";
}

TEST_F(SqliteResumedRestore, MayWriteAgainWhatIsThere) {
  LeaveHalf();
  auto session = Begin(true);
  ASSERT_THAT(session, IsOk());

  ASSERT_THAT(WriteImage(**session, image_), IsOk());
  EXPECT_THAT((*session)->Commit(), IsOk());

  EXPECT_TRUE(ReadWhole(path_) == image_);
}

TEST_F(SqliteResumedRestore, HasNothingToGoOnWith) {
  EXPECT_THAT(Begin(true), HasCode(Code::kNotFound));
  WriteWhole(unfinished_, "short");
  EXPECT_THAT(Begin(true), HasCode(Code::kNotFound)) << "not of the set's size";
  EXPECT_FALSE(writer_.KeepRestore(path_, "job-2").value());
  LeaveHalf();
  EXPECT_THAT(writer_.DiscardRestore(path_, "job-1"), IsOk());
  EXPECT_THAT(Begin(true), HasCode(Code::kNotFound));
}

// Of a crash while an unreadable database was being replaced.
TEST_F(SqliteResumedRestore, KeepingPutsBackWhatWasSetAside) {
  LeaveHalf();
  WriteWhole(scratch_.Under(".a.db.job-1.capstan-aside-wal"), "wal");

  EXPECT_TRUE(writer_.KeepRestore(path_, "job-1").value());

  EXPECT_EQ(ReadWhole(path_ + "-wal"), "wal");
  EXPECT_FALSE(ReadWhole(unfinished_).empty());
}

TEST_F(SqliteResumedRestore, RefusesWhatDoesNotFit) {
  LeaveHalf();
  auto session = Begin(true);
  ASSERT_THAT(session, IsOk());
  std::array<std::byte, 10> bytes{};
  EXPECT_THAT((*session)->ReadBack({.file_index = 0, .offset = image_.size(), .length = 10}, bytes),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT((*session)->ReadBack({.file_index = 1, .offset = 0, .length = 10}, bytes),
              HasCode(Code::kInvalidArgument));
}

// Checkpoints beside writers: each is done although they never pause, and nothing is lost.
TEST_F(SqliteResumedRestore, CheckpointsWhileOthersWrite) {
  auto session = Begin(false);
  ASSERT_THAT(session, IsOk());
  constexpr std::uint64_t kPiece = 1000;
  std::atomic<std::uint64_t> next{0};
  std::atomic<int> running{2};
  const auto write = [&] {
    for (std::uint64_t from = next.fetch_add(kPiece); from < image_.size();
         from = next.fetch_add(kPiece)) {
      EXPECT_THAT(Write(**session, from, std::min<std::uint64_t>(from + kPiece, image_.size())),
                  IsOk());
    }
    --running;
  };
  {
    std::jthread first(write);
    std::jthread second(write);
    do {
      EXPECT_THAT((*session)->Checkpoint(), IsOk());
    } while (running > 0);
  }
  EXPECT_THAT((*session)->Commit(), IsOk());
  EXPECT_TRUE(ReadWhole(path_) == image_);
  EXPECT_THAT((*session)->Checkpoint(), HasCode(Code::kFailedPrecondition));
}

}  // namespace
}  // namespace capstan::writers
