// What is written, in whatever order, arrives as the parts that it should, once each.
#include "plugins/s3/part_writer.h"

#include <algorithm>
#include <cerrno>

#include <gmock/gmock.h>

#include "plugins/s3/digest.h"
#include "tests/unit/plugins/s3/s3_fixture.h"

namespace capstan::test {
namespace {

constexpr std::int64_t kPart = 64 << 10;
constexpr std::size_t kWrite = 16 << 10;

class PartWriterTest : public S3Test {
 protected:
  void SetUp() override {
    Serve([this](const ScriptedRequest& request) { return Receive(request); });
    upload_ = std::make_unique<s3::Upload>(*store_, "key", "upload-1");
    writer_ = MakeWriter(4 * kPart);
  }

  std::unique_ptr<s3::PartWriter> MakeWriter(std::int64_t memory) {
    return std::make_unique<s3::PartWriter>(
        memory_,
        s3::PartWriter::Options{.plan = s3::PartPlan(kPart, kPart, 0),
                                .memory = static_cast<std::size_t>(memory),
                                .give_up = give_up_},
        [this](const s3::PartPlace&, s3::Upload** upload) {
          *upload = upload_.get();
          return begin_failure_;
        });
  }

  ScriptedReply Receive(const ScriptedRequest& request) {
    if (refuse_) {
      return ErrorReply(403, "AccessDenied", "Access Denied.");
    }
    const std::size_t number =
        request.target.find("partNumber=") + std::string("partNumber=").size();
    parts_[std::stoi(request.target.substr(number))] = request.body;
    return {.headers = {{"ETag", "\"" + s3::HexOf(s3::Md5(std::as_bytes(std::span(request.body)))) +
                                     "\""}}};
  }

  static std::string Pattern(std::size_t size) {
    std::string text(size, ' ');
    for (std::size_t i = 0; i < size; ++i) {
      text[i] = static_cast<char>(i * 7 + i / 1000);
    }
    return text;
  }

  s3::Failure Write(const std::string& all, std::size_t begin, std::size_t size = kWrite) {
    return writer_->Write(static_cast<std::int64_t>(begin),
                          std::as_bytes(std::span(all)).subspan(begin, size));
  }

  std::string Received() const {
    std::string all;
    for (const auto& [number, part] : parts_) {
      all += part;
    }
    return all;
  }

  const std::shared_ptr<std::atomic<bool>> give_up_ = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool> refuse_{false};
  s3::Failure begin_failure_;
  std::map<int, std::string> parts_;  // by the server's threads, one at a time; read after Flush
  s3::PartMemory memory_;
  std::unique_ptr<s3::Upload> upload_;
  std::unique_ptr<s3::PartWriter> writer_;
};

TEST_F(PartWriterTest, SendsPartsAsTheyFill) {
  const std::string all = Pattern(5 * kPart / 2);

  for (std::size_t at = 0; at < all.size(); at += kWrite) {
    ASSERT_EQ(Write(all, at).message, "");
  }
  ASSERT_EQ(writer_->Flush().message, "");

  EXPECT_EQ(parts_.size(), 3U);
  EXPECT_TRUE(Received() == all);
  EXPECT_EQ(writer_->end(), static_cast<std::int64_t>(all.size()));
}

TEST_F(PartWriterTest, TakesWritesInAnyOrderAndAcrossParts) {
  const std::string all = Pattern(3 * kPart);

  for (std::size_t at = all.size(); at > 0; at -= 3 * kWrite) {
    ASSERT_EQ(Write(all, at - 3 * kWrite, 3 * kWrite).message, "");
  }
  ASSERT_EQ(writer_->Flush().message, "");

  EXPECT_TRUE(Received() == all);
}

TEST_F(PartWriterTest, LastPartGrowsAfterAFlush) {
  const std::string all = Pattern(kPart);

  for (std::size_t at = 0; at < all.size(); at += kWrite) {
    ASSERT_EQ(Write(all, at).message, "");
    ASSERT_EQ(writer_->Flush().message, "");
    EXPECT_TRUE(Received() == all.substr(0, at + kWrite));
  }
}

TEST_F(PartWriterTest, BytesInBetweenAreZeros) {
  const std::string all = Pattern(kPart);
  ASSERT_EQ(Write(all, 2 * kWrite).message, "");
  ASSERT_EQ(Write(all, 0, 512).message, "");

  ASSERT_EQ(writer_->Flush().message, "");

  EXPECT_TRUE(Received() == all.substr(0, 512) + std::string(2 * kWrite - 512, '\0') +
                                all.substr(2 * kWrite, kWrite));
}

TEST_F(PartWriterTest, MissingPartIsAnError) {
  const std::string all = Pattern(3 * kPart);
  ASSERT_EQ(Write(all, 0).message, "");
  ASSERT_EQ(Write(all, 2 * kPart).message, "");

  const s3::Failure failure = writer_->Flush();

  EXPECT_EQ(failure.os_error, EINVAL);
  EXPECT_THAT(failure.message, testing::HasSubstr("at byte 65536"));
}

TEST_F(PartWriterTest, WholePartThatWasSentIsNotWrittenAgain) {
  const std::string all = Pattern(2 * kPart);
  ASSERT_EQ(Write(all, 0, kPart).message, "");
  ASSERT_EQ(writer_->Flush().message, "");

  EXPECT_EQ(Write(all, 0).os_error, ENOTSUP);
}

TEST_F(PartWriterTest, ReadsBackWhatIsInMemory) {
  const std::string all = Pattern(2 * kPart);
  ASSERT_EQ(Write(all, 0, kPart + kWrite).message, "");
  ASSERT_EQ(writer_->Flush().message, "");
  std::string read(kWrite, ' ');
  const auto target = std::as_writable_bytes(std::span(read));

  EXPECT_TRUE(writer_->Read(kPart, target));
  EXPECT_TRUE(read == all.substr(kPart, kWrite));
  EXPECT_FALSE(writer_->Read(kPart + 512, target));
  EXPECT_FALSE(writer_->Read(0, target));
  writer_->Forget();
  EXPECT_FALSE(writer_->Read(kPart, target));
}

// S3-plugin invariant 1: nothing is left out after CLEAR_ERROR.
TEST_F(PartWriterTest, PartsThatFailedAreSentAgain) {
  const std::string all = Pattern(2 * kPart);
  refuse_ = true;
  [[maybe_unused]] const s3::Failure early = Write(all, 0, kPart);
  EXPECT_THAT(writer_->Flush().message, testing::HasSubstr("AccessDenied"));
  EXPECT_THAT(Write(all, kPart).message, testing::HasSubstr("AccessDenied"));

  refuse_ = false;
  writer_->ClearFailure();
  ASSERT_EQ(Write(all, kPart, kPart).message, "");
  ASSERT_EQ(writer_->Flush().message, "");

  EXPECT_TRUE(Received() == all);
}

TEST_F(PartWriterTest, UploadThatCannotBeBegunFailsTheWrite) {
  begin_failure_ = s3::Failure::Of(EACCES, "no uploads here");

  EXPECT_EQ(Write(Pattern(kPart), 0, kPart).message, "no uploads here");
  EXPECT_EQ(writer_->Flush().os_error, EACCES);
}

TEST_F(PartWriterTest, WaitsForMemoryUntilItIsToldToStop) {
  const std::string all = Pattern(3 * kPart);
  writer_ = MakeWriter(kPart);
  ASSERT_EQ(Write(all, 0).message, "");  // holds the only piece

  give_up_->store(true);
  const s3::Failure failure = Write(all, kPart);

  EXPECT_EQ(failure.os_error, ECANCELED);
}

}  // namespace
}  // namespace capstan::test
