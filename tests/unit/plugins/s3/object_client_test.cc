// What happens when a server is busy, broken, far away, or of another opinion.
#include "plugins/s3/object_client.h"

#include <cerrno>
#include <chrono>
#include <future>

#include <gmock/gmock.h>

#include "plugins/s3/upload.h"
#include "tests/unit/plugins/s3/s3_fixture.h"

namespace capstan::test {
namespace {

using Fault = ScriptedReply::Fault;
using testing::HasSubstr;

class ObjectClientTest : public S3Test {
 protected:
  s3::ObjectAnswer Get() { return store_->client().Run({.method = "GET", .key = "a key"}); }

  // The first `count` requests are answered with `bad`, those behind them well.
  void ServeAfter(int count, const ScriptedReply& bad, const std::string& settings = "") {
    Serve(
        [left = count, bad](const ScriptedRequest&) mutable {
          return left-- > 0 ? bad : ScriptedReply{.body = "well"};
        },
        settings);
  }
};

TEST_F(ObjectClientTest, SignsWhatItSends) {
  ScriptedRequest seen;
  Serve([&](const ScriptedRequest& request) {
    seen = request;
    return ScriptedReply{.body = "well"};
  });

  const s3::ObjectAnswer answer = Get();

  EXPECT_FALSE(answer.failure.failed());
  EXPECT_EQ(answer.http.text, "well");
  EXPECT_EQ(seen.target, "/media/a%20key");
  EXPECT_THAT(seen.headers["authorization"],
              testing::StartsWith("AWS4-HMAC-SHA256 Credential=id/"));
  EXPECT_THAT(seen.headers["authorization"],
              HasSubstr("SignedHeaders=host;x-amz-content-sha256;x-amz-date,"));
  EXPECT_EQ(seen.headers.count("expect"), 0U);
}

TEST_F(ObjectClientTest, TriesAgainWhatMayPass) {
  const ScriptedReply passing[] = {
      {.status = 503, .body = "<Error><Code>SlowDown</Code></Error>"},
      {.status = 500, .body = "<Error><Code>InternalError</Code></Error>"},
      {.status = 429},
      {.status = 502, .body = "<html>no S3 at all</html>"},
      {.status = 400, .body = "<Error><Code>RequestTimeout</Code></Error>"},
      // S3 may find out that it cannot when it has already said 200.
      {.status = 200, .body = "<Error><Code>InternalError</Code></Error>"},
      {.fault = Fault::kDrop},
      {.body = "only half of this arrives", .fault = Fault::kCut},
  };
  for (const ScriptedReply& bad : passing) {
    ServeAfter(2, bad);
    const s3::ObjectAnswer answer = Get();
    EXPECT_EQ(answer.failure.message, "") << bad.status;
    EXPECT_EQ(answer.http.text, "well");
    EXPECT_EQ(server_->request_count(), 3);
  }
}

TEST_F(ObjectClientTest, DrivesATransferThatStallsAnew) {
  ServeAfter(1, {.fault = Fault::kStall}, "stall_s = 1\n");

  EXPECT_EQ(Get().failure.message, "");
  EXPECT_EQ(server_->request_count(), 2);
}

TEST_F(ObjectClientTest, BodyIsSentWholeEachTime) {
  std::string body;
  Serve([&, count = 0](const ScriptedRequest& request) mutable {
    body = request.body;
    return ++count < 3 ? ScriptedReply{.status = 503} : ScriptedReply{};
  });

  EXPECT_EQ(store_->Put("key", "the whole text").message, "");

  EXPECT_EQ(body, "the whole text");
}

TEST_F(ObjectClientTest, AnswerThatIsTooShortIsNoAnswer) {
  ServeAfter(1, {.status = 206, .body = "abc"});
  std::string target(4, ' ');

  const s3::ObjectAnswer answer = store_->client().Run(
      {.method = "GET", .key = "key", .target = std::as_writable_bytes(std::span(target))});

  EXPECT_EQ(answer.failure.message, "");
  EXPECT_EQ(target, "well");
}

TEST_F(ObjectClientTest, GivesUpWhenItsTimeIsOver) {
  retry_for_s_ = 1;
  Serve([](const ScriptedRequest&) {
    return ErrorReply(503, "SlowDown", "Please reduce your rate.");
  });

  const s3::ObjectAnswer answer = Get();

  EXPECT_EQ(answer.failure.os_error, EREMOTEIO);
  EXPECT_TRUE(answer.failure.transient);
  EXPECT_THAT(answer.failure.message, HasSubstr("SlowDown: Please reduce your rate."));
  EXPECT_THAT(answer.failure.message, HasSubstr("tried"));
  EXPECT_GT(server_->request_count(), 1);
}

// Whatever is under way ends; what comes afterwards has the time that it is given.
TEST_F(ObjectClientTest, BreaksOffWhenItIsTold) {
  using std::chrono::seconds;
  for (const ScriptedReply& bad :
       {ScriptedReply{.status = 503}, ScriptedReply{.fault = ScriptedReply::Fault::kStall}}) {
    std::promise<void> asked;
    Serve([&, count = 0](const ScriptedRequest&) mutable {
      if (++count == 1) {
        asked.set_value();
      }
      return bad;
    });
    std::promise<s3::Failure> answered;
    const auto begin = std::chrono::steady_clock::now();
    store_->client().Start({.method = "GET", .key = "key"}, [&](const s3::ObjectAnswer& answer) {
      answered.set_value(answer.failure);
    });
    asked.get_future().wait();

    store_->client().BreakOff(seconds(1));

    EXPECT_TRUE(answered.get_future().get().failed());
    const s3::Failure later = Get().failure;
    EXPECT_TRUE(later.transient) << later.message;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(4));
  }
}

TEST_F(ObjectClientTest, SaysWhatItWaitsFor) {
  std::string trouble;
  Serve([&, count = 0](const ScriptedRequest&) mutable {
    if (++count <= 2) {
      return ErrorReply(503, "SlowDown", "Please reduce your rate.");
    }
    trouble = store_->client().Trouble();
    return ScriptedReply{};
  });

  EXPECT_EQ(Get().failure.message, "");

  EXPECT_EQ(trouble, "the server answers 503 SlowDown, tried for 0 s");
  EXPECT_EQ(store_->client().Trouble(), "");
}

TEST_F(ObjectClientTest, BytesThatAreDamagedOnTheWayAreSentThreeTimes) {
  Serve([](const ScriptedRequest&) {
    return ErrorReply(400, "BadDigest", "It is not what you sent.");
  });

  const s3::Failure failure = store_->Put("key", "text");

  EXPECT_THAT(failure.message, HasSubstr("BadDigest"));
  EXPECT_EQ(server_->request_count(), 3);
}

// The server's own words, an errno that tells them apart, and what to do; at the first answer.
TEST_F(ObjectClientTest, FailsAtOnceWhereTryingAgainCannotHelp) {
  const struct {
    ScriptedReply reply;
    int os_error;
    const char* words;
    const char* advice;
  } cases[] = {
      {ErrorReply(403, "SignatureDoesNotMatch", "It does not match."), EKEYREJECTED,
       "SignatureDoesNotMatch: It does not match.", "check the credential for s3://media"},
      {ErrorReply(403, "InvalidAccessKeyId", "There is no such key."), EKEYREJECTED,
       "InvalidAccessKeyId: There is no such key.", "check the credential for s3://media"},
      {ErrorReply(403, "AccessDenied", "Access Denied."), EACCES, "AccessDenied: Access Denied.",
       "the key has no right to do this in bucket 'media', or what is there is locked"},
      {ErrorReply(404, "NoSuchBucket", "There is no such bucket."), ENOENT,
       "NoSuchBucket: There is no such bucket.", "create bucket 'media' first"},
      {ErrorReply(403, "RequestTimeTooSkewed", "The difference is too large."), ETIME,
       "RequestTimeTooSkewed: The difference is too large.",
       "set the clock of this host; it is now Fri, 24 May 2013 00:00:00 GMT at the server"},
      {ErrorReply(400, "AuthorizationHeaderMalformed", "Expecting 'eu-west-1'.",
                  "<Region>eu-west-1</Region>"),
       EREMCHG, "AuthorizationHeaderMalformed: Expecting 'eu-west-1'.",
       "set region = \"eu-west-1\" for s3://media"},
      {{.status = 301, .headers = {{"x-amz-bucket-region", "eu-north-1"}}},
       EREMCHG,
       "HTTP status 301",
       "set region = \"eu-north-1\" for s3://media"},
      {ErrorReply(400, "EntityTooLarge", "Too large."), EFBIG, "EntityTooLarge: Too large.", ""},
      {ErrorReply(400, "SomethingNew", "We never heard of it."), EREMOTEIO,
       "SomethingNew: We never heard of it.", ""},
  };
  for (const auto& one : cases) {
    Serve([&](const ScriptedRequest&) { return one.reply; });
    const s3::Failure failure = Get().failure;
    EXPECT_EQ(failure.os_error, one.os_error) << failure.message;
    EXPECT_THAT(failure.message, HasSubstr(one.words));
    EXPECT_THAT(failure.hint, HasSubstr(one.advice));
    EXPECT_FALSE(failure.transient);
    EXPECT_THAT(failure.message, HasSubstr("GET of 's3://media/a key'"));
    EXPECT_EQ(server_->request_count(), 1);
  }
}

TEST_F(ObjectClientTest, RedirectIsNotFollowed) {
  Serve([&](const ScriptedRequest&) {
    return ScriptedReply{.status = 307, .headers = {{"Location", "http://127.0.0.1:1/"}}};
  });

  EXPECT_EQ(Get().failure.os_error, EREMCHG);
}

TEST_F(ObjectClientTest, HeadBorrowsTheWordsOfAListing) {
  Serve([&](const ScriptedRequest& request) {
    return request.method == "HEAD" ? ScriptedReply{.status = 404}
                                    : ErrorReply(404, "NoSuchBucket", "There is no such bucket.");
  });
  s3::ObjectInfo info;

  EXPECT_THAT(store_->Head("key", &info).message, HasSubstr("There is no such bucket."));
}

TEST_F(ObjectClientTest, AnswerThatIsNoS3IsSaidToBeNone) {
  Serve([](const ScriptedRequest&) { return ScriptedReply{.body = "<html>It works!</html>"}; });
  std::vector<s3::ListedObject> objects;

  const s3::Failure failure = store_->List("prefix", &objects, nullptr);

  EXPECT_EQ(failure.os_error, EPROTO);
  EXPECT_THAT(failure.message, HasSubstr("is that an S3 server?"));
}

TEST_F(ObjectClientTest, PartWithAnotherEtagIsSentAgainThenRefused) {
  Serve([](const ScriptedRequest&) {
    return ScriptedReply{.headers = {{"ETag", "\"" + std::string(32, '0') + "\""}}};
  });
  s3::Upload upload(*store_, "key", "upload-1");
  const std::string bytes = "bytes of a part";
  std::promise<s3::Failure> sent;

  upload.SendPart(1, std::as_bytes(std::span(bytes)),
                  [&](s3::Failure failure) { sent.set_value(std::move(failure)); });

  const s3::Failure failure = sent.get_future().get();
  EXPECT_EQ(failure.os_error, EBADMSG);
  EXPECT_THAT(failure.message, HasSubstr("came out different at the server"));
  EXPECT_EQ(server_->request_count(), 3);
}

TEST(Backoff, DoublesUpToFiveSecondsAndVaries) {
  using std::chrono::milliseconds;

  EXPECT_EQ(s3::BackoffOf(1, 0.0), milliseconds(50));
  EXPECT_EQ(s3::BackoffOf(1, 1.0), milliseconds(100));
  EXPECT_EQ(s3::BackoffOf(3, 1.0), milliseconds(400));
  EXPECT_EQ(s3::BackoffOf(1000, 0.0), milliseconds(2500));
  EXPECT_EQ(s3::BackoffOf(1000, 1.0), milliseconds(5000));
}

}  // namespace
}  // namespace capstan::test
