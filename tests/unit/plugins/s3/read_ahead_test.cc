// Few large GETs for readings in order, exact ones for all others, and the right bytes always.
#include "plugins/s3/read_ahead.h"

#include <algorithm>
#include <cerrno>
#include <future>

#include <gmock/gmock.h>

#include "tests/unit/plugins/s3/s3_fixture.h"

namespace capstan::test {
namespace {

constexpr std::size_t kChunk = 64 << 10;
constexpr std::size_t kRead = 16 << 10;
constexpr std::int64_t kFirstSize = 100'000;  // of the first of two objects
constexpr std::int64_t kSize = 400'000;

class ReadAheadTest : public S3Test {
 protected:
  void SetUp() override {
    for (std::int64_t i = 0; i < kSize; ++i) {
      medium_ += static_cast<char>(i * 13 + i / 1000);
    }
    Serve([this](const ScriptedRequest& request) { return Give(request); });
    Open(3 * kChunk);
  }

  void Open(std::size_t memory) {
    s3::Medium medium{.id = "id",
                      .objects = {{"first", 0, kFirstSize, "\"1\"", "t1"},
                                  {"second", kFirstSize, kSize - kFirstSize, "\"2\"", "t2"}},
                      .size = kSize};
    ahead_.reset();
    reader_ = std::make_unique<s3::RangedReader>(*store_, medium);
    ahead_ = std::make_unique<s3::ReadAhead>(
        *reader_, memory_, s3::ReadAhead::Options{.chunk_size = kChunk, .memory = memory});
  }

  ScriptedReply Give(ScriptedRequest request) {
    if (replaced_) {
      return ErrorReply(412, "PreconditionFailed", "It has another ETag.");
    }
    const std::string range = request.headers["range"].substr(std::string("bytes=").size());
    const bool second = request.target == "/media/second";
    EXPECT_EQ(request.headers["if-match"], second ? "\"2\"" : "\"1\"");
    const std::size_t from = std::stoul(range) + (second ? kFirstSize : 0);
    const std::size_t to =
        std::stoul(range.substr(range.find('-') + 1)) + (second ? kFirstSize : 0);
    bytes_given_ += to + 1 - from;
    return {.status = 206, .body = medium_.substr(from, to + 1 - from)};
  }

  s3::Failure Read(std::int64_t position, std::size_t size) {
    std::string read(size, ' ');
    std::promise<s3::Failure> promise;
    ahead_->Start(position, std::as_writable_bytes(std::span(read)),
                  [&](s3::Failure failure) { promise.set_value(std::move(failure)); });
    s3::Failure failure = promise.get_future().get();
    if (!failure.failed()) {
      EXPECT_TRUE(read == medium_.substr(static_cast<std::size_t>(position), size)) << position;
    }
    return failure;
  }

  std::string medium_;
  std::atomic<bool> replaced_{false};
  std::atomic<std::size_t> bytes_given_{0};
  s3::PartMemory memory_;
  std::unique_ptr<s3::RangedReader> reader_;
  std::unique_ptr<s3::ReadAhead> ahead_;
};

TEST_F(ReadAheadTest, ReadingInOrderTakesFewRequests) {
  for (std::int64_t at = 0; at < kSize; at += kRead) {
    ASSERT_EQ(Read(at, std::min<std::size_t>(kRead, static_cast<std::size_t>(kSize - at))).message,
              "");
  }

  // Seven chunks, one of them across both objects, and the first readings.
  EXPECT_LE(server_->request_count(), 12);
}

TEST_F(ReadAheadTest, OnePageCostsOnePage) {
  EXPECT_EQ(Read(300'000, 4096).message, "");
  EXPECT_EQ(Read(8192, 4096).message, "");
  EXPECT_EQ(Read(200'000, 4096).message, "");

  EXPECT_EQ(server_->request_count(), 3);
  EXPECT_EQ(bytes_given_, 3 * 4096U);
}

TEST_F(ReadAheadTest, ReadingAcrossChunksAndObjectsGivesTheRightBytes) {
  for (const std::size_t size : {100'000UL, 70'000UL, 1'000UL, 65'536UL, 90'000UL}) {
    std::int64_t at = 0;
    for (int i = 0; i < 4; ++i) {
      ASSERT_EQ(Read(at, size).message, "");
      at += static_cast<std::int64_t>(size);
    }
  }
}

TEST_F(ReadAheadTest, WithoutMemoryEveryReadingIsAGetOfItsOwn) {
  Open(0);

  for (std::int64_t at = 0; at < 10 * static_cast<std::int64_t>(kRead); at += kRead) {
    ASSERT_EQ(Read(at, kRead).message, "");
  }

  EXPECT_EQ(bytes_given_, 10 * kRead);
}

TEST_F(ReadAheadTest, MediumThatWasReplacedIsNotMixed) {
  ASSERT_EQ(Read(0, kRead).message, "");
  replaced_ = true;

  for (std::int64_t at = kRead; at < 5 * static_cast<std::int64_t>(kRead); at += kRead) {
    const s3::Failure failure = Read(at, kRead);
    EXPECT_EQ(failure.os_error, ESTALE);
    EXPECT_THAT(failure.message, testing::HasSubstr("replaced while it was read"));
  }
}

}  // namespace
}  // namespace capstan::test
