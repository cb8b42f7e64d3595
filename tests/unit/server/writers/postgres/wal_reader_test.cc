#include "server/writers/postgres/wal_reader.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/wal_builder.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::WalBuilder;

constexpr std::int64_t kNoon = 1'700'000'000'000'000;

struct Walk {
  std::vector<WalRecord> records;
  Lsn end;
  std::string cause;
};

Walk WalkFrom(const std::string& directory, WalReader::Options options) {
  options.directories = {directory};
  options.segment_size = WalBuilder::kSegmentSize;
  auto reader = WalReader::Open(std::move(options));
  EXPECT_THAT(reader, IsOk());
  Walk walk;
  while (true) {
    auto record = reader->Next();
    EXPECT_THAT(record, IsOk());
    if (!record.ok() || !record->has_value()) {
      break;
    }
    walk.records.push_back(**record);
  }
  walk.end = reader->end();
  walk.cause = reader->end_cause();
  return walk;
}

// Records of every sort, on many pages and two segments.
WalBuilder SampleLog() {
  WalBuilder log;
  for (int i = 0; i < 40; ++i) {
    log.AddFiller(100 + static_cast<std::size_t>(i) * 900);
    log.AddCommit(kNoon + i);
  }
  log.AddRestorePoint(kNoon + 100, "before the upgrade");
  log.AddSwitch();
  log.AddCommit(kNoon + 200);
  return log;
}

TEST(WalReader, FindsRecordsTheirTimesAndTheEnd) {
  const test::TemporaryDirectory directory;
  const WalBuilder log = SampleLog();
  log.Write(directory.path());

  const Walk walk = WalkFrom(directory.path(), {.start = {WalBuilder::kSegmentSize}});

  ASSERT_EQ(walk.records.size(), 83U);
  EXPECT_EQ(walk.end, log.end());
  EXPECT_THAT(walk.cause, testing::HasSubstr("there is no record"));
  EXPECT_EQ(walk.records[1].kind, WalRecord::Kind::kCommit);
  EXPECT_EQ(walk.records[1].unix_us, kNoon);
  EXPECT_EQ(walk.records[80].kind, WalRecord::Kind::kRestorePoint);
  EXPECT_EQ(walk.records[80].name, "before the upgrade");
  EXPECT_EQ(walk.records[81].kind, WalRecord::Kind::kSwitch);
  EXPECT_EQ(walk.records[81].end, Lsn{2 * WalBuilder::kSegmentSize});
  EXPECT_EQ(walk.records[82].unix_us, kNoon + 200);
}

TEST(WalReader, BeginsAmidARecordAtItsPage) {
  const test::TemporaryDirectory directory;
  WalBuilder log;
  log.AddFiller(3 * kWalPageSize);
  const Lsn commit = log.AddCommit(kNoon);
  log.Write(directory.path());

  const Walk walk =
      WalkFrom(directory.path(), {.start = {WalBuilder::kSegmentSize + kWalPageSize}});

  ASSERT_EQ(walk.records.size(), 1U);
  EXPECT_EQ(walk.records[0].start, commit);
}

// Whatever is cut off, the log ends with the last record that is whole.
TEST(WalReader, EndsWithTheLastWholeRecordOfEveryPrefix) {
  const test::TemporaryDirectory directory;
  WalBuilder log;
  std::vector<Lsn> ends = {log.end()};
  for (const std::size_t size : {std::size_t{10}, std::size_t{9000}, std::size_t{300}}) {
    log.AddFiller(size);
    ends.push_back(log.end());
  }
  log.Write(directory.path());

  for (std::uint64_t limit = WalBuilder::kSegmentSize; limit <= log.end().value; limit += 8) {
    const Walk walk =
        WalkFrom(directory.path(), {.start = {WalBuilder::kSegmentSize}, .limit = {limit}});
    Lsn wanted = ends[0];
    for (const Lsn end : ends) {
      if (end.value <= limit) {
        wanted = end;
      }
    }
    ASSERT_EQ(walk.end.value, wanted.value) << "limit " << limit;
  }
}

TEST(WalReader, EndsBeforeEveryFlippedByte) {
  const test::TemporaryDirectory directory;
  WalBuilder log;
  std::vector<Lsn> starts;
  for (const std::size_t size : {std::size_t{10}, std::size_t{8300}, std::size_t{40}}) {
    starts.push_back(log.AddFiller(size));
  }
  const Lsn all = log.end();
  const std::vector<std::byte> good = log.bytes();

  for (std::size_t at = 0; at < good.size(); at += at % 8192 < 120 ? 1 : 97) {
    log.bytes() = good;
    log.bytes()[at] ^= std::byte{0x40};
    log.Write(directory.path());
    const Walk walk = WalkFrom(
        directory.path(),
        {.system_identifier = WalBuilder::kSystemIdentifier, .start = {WalBuilder::kSegmentSize}});
    if (walk.end == all) {
      // Bytes that mean nothing: fill between records, and of the page headers.
      const std::uint64_t on_page = at % kWalPageSize;
      const bool fill = (on_page >= 20 && on_page < 24) || good[at] == std::byte{0};
      EXPECT_TRUE(fill) << "byte " << at;
    } else {
      EXPECT_LE(walk.end.value, WalBuilder::kSegmentSize + at) << "byte " << at;
    }
  }
}

TEST(WalReader, TakesLogOfAnotherClusterForNone) {
  const test::TemporaryDirectory directory;
  SampleLog().Write(directory.path());

  const Walk walk =
      WalkFrom(directory.path(), {.system_identifier = 1, .start = {WalBuilder::kSegmentSize}});

  EXPECT_TRUE(walk.records.empty());
  EXPECT_THAT(walk.cause, testing::HasSubstr("another cluster"));
}

// The new timeline's first segment repeats the old one's beginning.
TEST(WalReader, FollowsTheTimelinesOfTheHistory) {
  const test::TemporaryDirectory directory;
  WalBuilder old_line;
  old_line.AddCommit(kNoon);
  const Lsn branch{WalBuilder::kSegmentSize + kWalPageSize};
  old_line.AddFiller(kWalPageSize - kWalLongPageHeaderSize - 24 - 40);
  old_line.Write(directory.path());
  auto history = TimelineHistory::Parse(
      2, "1\t" + PostgresLsnText(branch) + "\tno recovery target specified\n");
  ASSERT_THAT(history, IsOk());

  const Walk walk =
      WalkFrom(directory.path(), {.history = *history, .start = {WalBuilder::kSegmentSize}});

  EXPECT_EQ(walk.records.size(), 2U);  // of the old line's file, since the new one's is missing
  EXPECT_EQ(history->TimelineAt({branch.value - 1}), 1U);
  EXPECT_EQ(history->TimelineAt(branch), 2U);
}

TEST(WalReader, RefusesAStartThatIsNone) {
  EXPECT_THAT(WalReader::Open({.start = {3}}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(WalReader::Open({.segment_size = 12345}), HasCode(Code::kInvalidArgument));
}

TEST(WalReader, ReportsASegmentThatCannotBeOpened) {
  const test::TemporaryDirectory directory;
  const std::string name = WalSegmentName(1, {WalBuilder::kSegmentSize}, WalBuilder::kSegmentSize);
  std::filesystem::create_symlink("/nowhere", directory.Under(name));

  auto reader = WalReader::Open({.directories = {directory.path()},
                                 .segment_size = WalBuilder::kSegmentSize,
                                 .start = {WalBuilder::kSegmentSize}});
  ASSERT_THAT(reader, IsOk());

  EXPECT_THAT(reader->Next(), MessageHas("unable to open the log segment"));
}

TEST(TimelineHistory, RefusesWhatIsOutOfOrder) {
  EXPECT_THAT(TimelineHistory::Parse(3, "1\t0/20\tx\n2\t0/10\ty\n"), HasCode(Code::kDataLoss));
  EXPECT_THAT(TimelineHistory::Parse(2, "2\t0/20\tx\n"), HasCode(Code::kDataLoss));
  EXPECT_THAT(TimelineHistory::Parse(2, "1\tnothing\n"), HasCode(Code::kDataLoss));
  EXPECT_THAT(TimelineHistory::Parse(3, "# said\n\n1\t0/20\tx\n2\t0/30\ty\n"), IsOk());
  EXPECT_THAT(TimelineHistory::Read("/nowhere", 2), HasCode(Code::kNotFound));
}

TEST(WalFormat, NamesSegmentsAsPostgreSqlDoes) {
  EXPECT_EQ(WalSegmentName(1, {0x3'0A00'0028}, 16U << 20), "00000001000000030000000A");
  const auto segment = ParseWalSegmentName("00000001000000030000000A", 16U << 20);
  ASSERT_TRUE(segment.has_value());
  EXPECT_EQ(segment->begin, (Lsn{0x3'0A00'0000}));
  EXPECT_FALSE(ParseWalSegmentName("00000001000000030000000a", 16U << 20));
  EXPECT_FALSE(ParseWalSegmentName("000000010000000300000100", 16U << 20));
  EXPECT_FALSE(ParseWalSegmentName("00000002.history", 16U << 20));
  EXPECT_EQ(ParsePostgresLsn("3/A000028"), (Lsn{0x3'0A00'0028}));
  EXPECT_FALSE(ParsePostgresLsn("3-A000028"));
}

}  // namespace
}  // namespace capstan::writers
