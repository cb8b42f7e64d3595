// A device and a server that lets it wait, and one whose medium is more than an object can hold.
#include "plugins/s3/s3_device.h"

#include <chrono>
#include <future>

#include <gmock/gmock.h>

#include "plugins/s3/part_memory.h"
#include "tests/unit/plugins/s3/s3_fixture.h"

namespace capstan::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::size_t kPart = 5U << 20;

// Answers all that begins and ends a writing; `on_part` answers the parts.
ScriptedReply AnswerWriting(const ScriptedRequest& request, const ScriptedReply& on_part) {
  if (request.target.find("partNumber=") != std::string::npos) {
    return on_part;
  }
  if (request.target.find("uploads=") != std::string::npos && request.method == "POST") {
    return {.body =
                "<InitiateMultipartUploadResult><UploadId>u</UploadId>"
                "</InitiateMultipartUploadResult>"};
  }
  return request.method == "GET"    ? ScriptedReply{.body = "<ListBucketResult/>"}
         : request.method == "HEAD" ? ScriptedReply{.status = 404}
                                    : ScriptedReply{};
}

class S3DeviceTest : public S3Test {
 protected:
  struct Request {
    capstan_request request{};
    std::promise<void> completed;
  };

  void OpenWriter() {
    const capstan_open_params params{.struct_size = sizeof(params),
                                     .mode = CAPSTAN_OPEN_REPLACE,
                                     .target = "s3://media/folder/sales.bak",
                                     .token = "t1",
                                     .max_transfer_size = kPart};
    ASSERT_EQ(s3::S3Device::Open(params, http_, memory_, &device_).message, "");
  }

  std::unique_ptr<Request> Submit(std::int32_t op) {
    auto one = std::make_unique<Request>();
    one->request.op = op;
    one->request.buffer = bytes_.data();
    one->request.size = kPart;
    one->request.context = &one->completed;
    one->request.complete = [](capstan_request* request) {
      static_cast<std::promise<void>*>(request->context)->set_value();
    };
    EXPECT_EQ(device_->Submit(&one->request).message, "");
    return one;
  }

  std::string bytes_ = std::string(kPart, 'x');
  s3::PartMemory memory_;
  std::unique_ptr<s3::S3Device> device_;
};

TEST_F(S3DeviceTest, DiscardDoesNotWaitForTheServerToBecomeWell) {
  using Fault = ScriptedReply::Fault;
  for (const ScriptedReply& bad :
       {ScriptedReply{.status = 503}, ScriptedReply{.fault = Fault::kStall}}) {
    std::promise<void> tried;
    Serve([&, count = 0](const ScriptedRequest& request) mutable {
      const bool is_part = request.target.find("partNumber=") != std::string::npos;
      // The second attempt shows that the first one failed; a stalled one is never repeated here.
      if (is_part && ++count == (bad.fault == Fault::kStall ? 1 : 2)) {
        tried.set_value();
      }
      return AnswerWriting(request, bad);
    });
    OpenWriter();
    const auto write = Submit(CAPSTAN_OP_WRITE);
    const auto flush = Submit(CAPSTAN_OP_FLUSH);
    write->completed.get_future().wait();
    tried.get_future().wait();
    if (bad.fault == Fault::kNone) {
      EXPECT_THAT(device_->waits_for(), StartsWith("the server answers 503, tried for "));
    }
    const auto begin = std::chrono::steady_clock::now();

    EXPECT_EQ(device_->Close(CAPSTAN_OUTCOME_DISCARD).message, "");

    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
    EXPECT_EQ(write->request.completion_code, CAPSTAN_E_OK);
    EXPECT_EQ(flush->request.completion_code, CAPSTAN_E_ABORTED);
    device_.reset();
  }
}

// 10,000 parts are an object: the next one goes on, and is completed before the first, whose
// completion is the commit.
TEST_F(S3Test, MediumGoesOnInAnotherObject) {
  constexpr std::int64_t kSmall = 16;  // bytes of a part
  std::vector<std::string> begun;
  std::vector<std::string> completed;
  int parts = 0;
  int part_number_max = 0;
  Serve([&](const ScriptedRequest& request) {
    const std::string path = request.target.substr(0, request.target.find('?'));
    const std::size_t number = request.target.find("partNumber=");
    if (number != std::string::npos) {
      ++parts;
      part_number_max = std::max(part_number_max, std::stoi(request.target.substr(number + 11)));
    } else if (request.method == "POST") {
      (request.target.find("uploads=") != std::string::npos ? begun : completed).push_back(path);
    }
    return AnswerWriting(request, {.headers = {{"ETag", "\"no-md5\""}}});
  });
  s3::MediumUrl url;
  ASSERT_EQ(s3::MediumUrl::Parse("s3://media/sales.bak", &url).message, "");
  std::unique_ptr<s3::Writing> writing;
  ASSERT_EQ(s3::Writing::Begin(*store_, url, {.kind = s3::Writing::Kind::kReplace, .token = "t1"},
                               &writing)
                .message,
            "");
  s3::PartMemory memory;
  s3::PartWriter writer(memory,
                        {.plan = s3::PartPlan(kSmall, kSmall, 0),
                         .memory = 1U << 16,
                         .give_up = std::make_shared<std::atomic<bool>>(false)},
                        [&](const s3::PartPlace& place, s3::Upload** upload) {
                          return writing->UploadFor(place, upload);
                        });
  const std::string bytes((s3::PartPlan::kPartCountMax + 2) * kSmall, 'x');

  ASSERT_EQ(writer.Write(0, std::as_bytes(std::span(bytes))).message, "");
  ASSERT_EQ(writer.Flush().message, "");
  ASSERT_EQ(writing->Publish().message, "");

  EXPECT_EQ(parts, 10'002);
  EXPECT_EQ(part_number_max, 10'000);
  const std::string more =
      "/media/sales.bak.more/" + s3::MediumIdOf("t1") + ".0000000000000160000.t1.1";
  EXPECT_THAT(begun, ElementsAre("/media/sales.bak", more));
  EXPECT_THAT(completed, ElementsAre(more, "/media/sales.bak"));
}

}  // namespace
}  // namespace capstan::test
