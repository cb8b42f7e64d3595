#include "tests/conformance/plugins/tape_conformance.h"

#include <algorithm>
#include <chrono>
#include <deque>

#include <gmock/gmock.h>

#include "tests/support/media_request.h"
#include "tests/support/status_matchers.h"

namespace capstan::test {
namespace {

constexpr std::size_t kSetSize = 300 << 10;  // bytes; no multiple of a block
constexpr std::size_t kTransfer = 64 << 10;

}  // namespace

void TapeConformance::SetUp() {
  std::string why;
  place_ = GetParam().make_place(&why);
  if (!place_) {
    GTEST_SKIP() << why;
  }
}

std::unique_ptr<agent::MediaDevice> TapeConformance::Open(capstan_open_mode mode,
                                                          const std::string& token) {
  auto device = place_->plugin().Open({.mode = mode, .target = place_->target(), .token = token});
  EXPECT_THAT(device, IsOk());
  CAPSTAN_CHECK(device.ok());
  return std::move(device).value();
}

std::uint32_t TapeConformance::Run(agent::MediaDevice& device, std::int32_t op,
                                   std::uint32_t size) {
  MediaRequest request;
  request.request.size = size;
  EXPECT_THAT(request.Submit(device, op), IsOk());
  return request.Wait().completion_code;
}

void TapeConformance::WriteSet(agent::MediaDevice& device, unsigned seed) {
  const MediaBuffer set(kSetSize, seed);
  std::deque<MediaRequest> writes;
  for (std::size_t at = 0; at < kSetSize; at += kTransfer) {
    const std::size_t size = std::min(kTransfer, kSetSize - at);
    ASSERT_THAT(writes.emplace_back().Write(device, 0, set.bytes().subspan(at, size)), IsOk());
  }
  for (MediaRequest& write : writes) {
    ASSERT_EQ(write.Wait().completion_code, CAPSTAN_E_OK);
  }
  ASSERT_EQ(Run(device, CAPSTAN_OP_WRITE_MARK, 0), CAPSTAN_E_OK);
}

// In pieces that are no blocks, several in flight.
bool TapeConformance::ReadsSet(agent::MediaDevice& device, unsigned seed) {
  constexpr std::size_t kPiece = 52 << 10;
  const MediaBuffer read(kSetSize + kPiece);
  std::deque<MediaRequest> reads;
  for (std::size_t at = 0; at < kSetSize; at += kPiece) {
    EXPECT_THAT(reads.emplace_back().Read(device, 0, {read.data() + at, kPiece}), IsOk());
  }
  std::size_t bytes = 0;
  std::uint32_t last = 0;
  for (MediaRequest& each : reads) {
    bytes += each.Wait().bytes_transferred;
    last = each.request.completion_code;
  }
  EXPECT_EQ(Run(device, CAPSTAN_OP_CLEAR_ERROR, 0), CAPSTAN_E_OK);
  const MediaBuffer set(kSetSize, seed);
  return last == CAPSTAN_E_FILE_MARK && bytes == kSetSize &&
         std::equal(set.bytes().begin(), set.bytes().end(), read.bytes().begin());
}

void TapeConformance::Finish(agent::MediaDevice& device) {
  ASSERT_EQ(Run(device, CAPSTAN_OP_FLUSH, 0), CAPSTAN_E_OK);
  ASSERT_EQ(Run(device, CAPSTAN_OP_COMPLETE, 0), CAPSTAN_E_OK);
  ASSERT_THAT(device.Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

std::int64_t TapeConformance::Position(agent::MediaDevice& device) {
  MediaRequest request;
  EXPECT_THAT(request.Submit(device, CAPSTAN_OP_GET_POSITION), IsOk());
  EXPECT_EQ(request.Wait().completion_code, CAPSTAN_E_OK);
  return request.request.out_position;
}

std::int64_t TapeConformance::SetPosition(agent::MediaDevice& device, std::uint32_t whence,
                                          std::int64_t position) {
  MediaRequest request;
  request.request.size = whence;
  request.request.position = position;
  EXPECT_THAT(request.Submit(device, CAPSTAN_OP_SET_POSITION), IsOk());
  return request.Wait().completion_code == CAPSTAN_E_OK ? request.request.out_position : -1;
}

// Rule 22
TEST_P(TapeConformance, FilemarksDivideStreamsOfBytes) {
  const auto writer = Open(CAPSTAN_OPEN_CREATE);
  for (unsigned set = 0; set < 3; ++set) {
    WriteSet(*writer, set);
  }
  Finish(*writer);
  const auto reader = Open(CAPSTAN_OPEN_READ);

  for (unsigned set = 0; set < 3; ++set) {
    EXPECT_TRUE(ReadsSet(*reader, set)) << set;
  }
  MediaBuffer beyond(4096);
  MediaRequest read;
  ASSERT_THAT(read.Read(*reader, 0, {beyond.data(), beyond.size()}), IsOk());
  EXPECT_EQ(read.Wait().completion_code, CAPSTAN_E_NO_DATA);
  EXPECT_EQ(read.request.bytes_transferred, 0U);
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

// Rule 22
TEST_P(TapeConformance, PlacesThatWereToldAreGoneTo) {
  const auto writer = Open(CAPSTAN_OPEN_CREATE);
  std::vector<std::int64_t> begins;
  for (unsigned set = 0; set < 4; ++set) {
    begins.push_back(Position(*writer));
    WriteSet(*writer, set);
  }
  const std::int64_t end = Position(*writer);
  Finish(*writer);
  const auto reader = Open(CAPSTAN_OPEN_READ);

  EXPECT_EQ(begins[0], 0);
  EXPECT_GT(begins[1], begins[0] + 1) << "blocks and filemarks count one each";
  for (const unsigned set : {2U, 0U, 3U, 1U}) {
    EXPECT_EQ(SetPosition(*reader, 0, begins[set]), begins[set]);
    EXPECT_TRUE(ReadsSet(*reader, set)) << set;
  }
  EXPECT_EQ(SetPosition(*reader, 2, 0), end);
  EXPECT_EQ(SetPosition(*reader, 0, -1), -1);
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_CLEAR_ERROR, 0), CAPSTAN_E_OK);
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_REWIND, 0), CAPSTAN_E_OK);
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_SKIP_MARKS, 2), CAPSTAN_E_OK);
  EXPECT_EQ(Position(*reader), begins[2]);
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_SKIP_BLOCKS, 1), CAPSTAN_E_OK);
  EXPECT_EQ(Position(*reader), begins[2] + 1);
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_SKIP_MARKS, 9), CAPSTAN_E_NO_DATA);
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

// Rules 22 and 25: in place, from the first write on.
TEST_P(TapeConformance, WhatIsWrittenEndsTheMedium) {
  const auto first = Open(CAPSTAN_OPEN_CREATE);
  for (unsigned set = 0; set < 3; ++set) {
    WriteSet(*first, set);
  }
  Finish(*first);

  auto writer = Open(CAPSTAN_OPEN_REPLACE);
  EXPECT_THAT(writer->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
  auto reader = Open(CAPSTAN_OPEN_READ);
  EXPECT_TRUE(ReadsSet(*reader, 0)) << "nothing was written yet";
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());

  writer = Open(CAPSTAN_OPEN_REPLACE);
  WriteSet(*writer, 7);
  Finish(*writer);
  reader = Open(CAPSTAN_OPEN_READ);
  EXPECT_TRUE(ReadsSet(*reader, 7));
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_SKIP_MARKS, 1), CAPSTAN_E_NO_DATA);
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

TEST_P(TapeConformance, SetsAreAppended) {
  const auto first = Open(CAPSTAN_OPEN_CREATE);
  WriteSet(*first, 0);
  Finish(*first);

  const auto appender = Open(CAPSTAN_OPEN_APPEND);
  EXPECT_TRUE(ReadsSet(*appender, 0));
  EXPECT_GT(SetPosition(*appender, 2, 0), 1);
  WriteSet(*appender, 1);
  Finish(*appender);

  const auto reader = Open(CAPSTAN_OPEN_READ);
  EXPECT_TRUE(ReadsSet(*reader, 0));
  EXPECT_TRUE(ReadsSet(*reader, 1));
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

// What was begun stands behind the last set, and the next one is written over it.
TEST_P(TapeConformance, WhatWasNotFinishedHarmsNothing) {
  const auto first = Open(CAPSTAN_OPEN_CREATE);
  WriteSet(*first, 0);
  const std::int64_t end = Position(*first);
  Finish(*first);
  const MediaBuffer torn(kTransfer, 5);
  const auto appender = Open(CAPSTAN_OPEN_APPEND, "t-torn");
  SetPosition(*appender, 0, end);
  EXPECT_EQ(WriteBytes(*appender, 0, torn.bytes()), 0U);
  EXPECT_THAT(appender->Close(CAPSTAN_OUTCOME_KEEP), IsOk());

  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(place_->plugin().Recover(place_->target(), "t-torn", CAPSTAN_RECOVER_DISCARD),
                IsOk());
  }

  const auto again = Open(CAPSTAN_OPEN_APPEND);
  EXPECT_TRUE(ReadsSet(*again, 0));
  EXPECT_EQ(SetPosition(*again, 0, end), end);
  WriteSet(*again, 1);
  Finish(*again);
  const auto reader = Open(CAPSTAN_OPEN_READ);
  EXPECT_TRUE(ReadsSet(*reader, 0));
  EXPECT_TRUE(ReadsSet(*reader, 1));
  EXPECT_EQ(Run(*reader, CAPSTAN_OP_SKIP_MARKS, 1), CAPSTAN_E_NO_DATA);
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

// Rule 23. Several writes are in flight when the warning comes; all of them and what ends a medium
// must fit. Then it goes on until nothing does.
TEST_P(TapeConformance, WarnsInTimeAndStoresNothingInPart) {
  if (GetParam().too_many_bytes == 0) {
    GTEST_SKIP() << "the cartridge is too large to be filled";
  }
  const auto writer = Open(CAPSTAN_OPEN_CREATE);
  const MediaBuffer buffer(kTransfer, 3);
  std::uint64_t stored = 0;
  std::uint32_t code = CAPSTAN_E_OK;
  while (code == CAPSTAN_E_OK) {
    std::deque<MediaRequest> writes(4);
    for (MediaRequest& write : writes) {
      ASSERT_THAT(write.Write(*writer, 0, buffer.bytes()), IsOk());
    }
    for (MediaRequest& write : writes) {
      ASSERT_THAT(write.Wait().completion_code,
                  testing::AnyOf(CAPSTAN_E_OK, CAPSTAN_E_END_OF_MEDIUM));
      ASSERT_EQ(write.request.bytes_transferred, kTransfer);
      code = std::max(code, write.request.completion_code);
      stored += kTransfer;
    }
    ASSERT_LT(stored, GetParam().too_many_bytes);
  }
  ASSERT_EQ(Run(*writer, CAPSTAN_OP_CLEAR_ERROR, 0), CAPSTAN_E_OK);
  for (int i = 0; i < 4; ++i, stored += kTransfer) {
    ASSERT_EQ(WriteBytes(*writer, 0, buffer.bytes()), CAPSTAN_E_END_OF_MEDIUM);
    ASSERT_EQ(Run(*writer, CAPSTAN_OP_CLEAR_ERROR, 0), CAPSTAN_E_OK);
  }

  while ((code = WriteBytes(*writer, 0, buffer.bytes())) == CAPSTAN_E_END_OF_MEDIUM) {
    stored += kTransfer;
    ASSERT_EQ(Run(*writer, CAPSTAN_OP_CLEAR_ERROR, 0), CAPSTAN_E_OK);
    ASSERT_LT(stored, GetParam().too_many_bytes);
  }
  EXPECT_EQ(code, CAPSTAN_E_NO_ROOM);
  EXPECT_THAT(writer->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  const auto reader = Open(CAPSTAN_OPEN_READ);
  const MediaBuffer read(kTransfer);
  std::uint64_t found = 0;
  for (code = CAPSTAN_E_OK; code == CAPSTAN_E_OK;) {
    MediaRequest request;
    ASSERT_THAT(request.Read(*reader, 0, {read.data(), kTransfer}), IsOk());
    code = request.Wait().completion_code;
    found += request.request.bytes_transferred;
    ASSERT_TRUE(std::equal(read.bytes().begin(),
                           read.bytes().begin() + request.request.bytes_transferred,
                           buffer.bytes().begin()));
  }
  EXPECT_EQ(found, stored);
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

// Rule 24
TEST_P(TapeConformance, LoadBringsTheMediaOfTheFamily) {
  const auto writer = Open(CAPSTAN_OPEN_CREATE);
  WriteSet(*writer, 1);
  ASSERT_EQ(Run(*writer, CAPSTAN_OP_LOAD, 2), CAPSTAN_E_OK);
  EXPECT_EQ(Position(*writer), 0);
  WriteSet(*writer, 2);
  Finish(*writer);

  const auto reader = Open(CAPSTAN_OPEN_READ);
  EXPECT_TRUE(ReadsSet(*reader, 2)) << "what is in the drive";
  for (const unsigned sequence : {1U, 2U, 1U}) {
    ASSERT_EQ(Run(*reader, CAPSTAN_OP_LOAD, sequence), CAPSTAN_E_OK);
    EXPECT_TRUE(ReadsSet(*reader, sequence)) << sequence;
  }
  EXPECT_THAT(reader->Close(CAPSTAN_OUTCOME_DONE), IsOk());
}

// Rules 19 and 24
TEST_P(TapeConformance, AWaitForACartridgeIsToldAndEndsWithTheDevice) {
  const auto writer = Open(CAPSTAN_OPEN_CREATE);
  WriteSet(*writer, 1);
  ASSERT_EQ(Run(*writer, CAPSTAN_OP_LOAD, 2), CAPSTAN_E_OK);
  WriteSet(*writer, 2);
  MediaRequest load;
  load.request.size = 3;
  ASSERT_THAT(load.Submit(*writer, CAPSTAN_OP_LOAD), IsOk());
  const auto begin = std::chrono::steady_clock::now();
  std::string waits_for;
  // Ends: CTest's own deadline.
  while (waits_for.find("medium 3") == std::string::npos) {
    waits_for = writer->status().waits_for;
  }

  const auto closed = std::chrono::steady_clock::now();
  EXPECT_THAT(writer->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());

  EXPECT_LT(std::chrono::steady_clock::now() - closed, std::chrono::seconds(5));
  EXPECT_LT(closed - begin, std::chrono::seconds(60));
  EXPECT_EQ(load.Wait().completion_code, CAPSTAN_E_ABORTED);
}

}  // namespace capstan::test
