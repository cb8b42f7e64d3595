// Which objects are the medium, and what a note says.
#include "plugins/s3/medium.h"

#include <cerrno>
#include <map>

#include <gmock/gmock.h>
#include <unistd.h>

#include "plugins/s3/write_note.h"
#include "tests/unit/plugins/s3/s3_fixture.h"

namespace capstan::test {
namespace {

using testing::HasSubstr;

const std::string kId = s3::MediumIdOf("base");

class MediumTest : public S3Test {
 protected:
  // Serves the first object, of 100 bytes and token "base", and what lies under ".more/".
  s3::Failure ReadWith(const std::map<std::string, int>& more) {
    Serve([more](const ScriptedRequest& request) {
      if (request.method == "HEAD") {
        return ScriptedReply{.headers = {{"ETag", "\"e\""}, {"x-amz-meta-capstan-token", "base"}},
                             .body = std::string(100, 'x')};
      }
      std::string listing = "<ListBucketResult>";
      for (const auto& [tail, size] : more) {
        listing += "<Contents><Key>folder/sales.bak.more/" + tail + "</Key><Size>" +
                   std::to_string(size) + "</Size><ETag>\"f\"</ETag></Contents>";
      }
      return ScriptedReply{.body = listing + "</ListBucketResult>"};
    });
    s3::MediumUrl url;
    EXPECT_EQ(s3::MediumUrl::Parse("s3://media/folder/sales.bak", &url).message, "");
    return s3::ReadMedium(*store_, url, &medium_);
  }

  static std::string Tail(std::int64_t begin, const std::string& token, std::uint32_t index,
                          const std::string& id = kId) {
    return s3::MoreName{.medium_id = id, .begin = begin, .token = token, .index = index}.tail();
  }

  s3::Medium medium_;
};

TEST_F(MediumTest, FollowsWritingsAndTheirObjects) {
  ASSERT_EQ(ReadWith({{Tail(100, "base", 1), 50},
                      {Tail(150, "t2", 0), 10},
                      {Tail(160, "t2", 1), 20},
                      {Tail(180, "t3", 0), 1}})
                .message,
            "");

  EXPECT_EQ(medium_.objects.size(), 5U);
  EXPECT_EQ(medium_.size, 181);
  EXPECT_TRUE(medium_.Holds("base"));
  EXPECT_TRUE(medium_.Holds("t2"));
  EXPECT_TRUE(medium_.EndsWith("t3"));
  EXPECT_FALSE(medium_.EndsWith("t2"));
}

TEST_F(MediumTest, ObjectsThatDoNotFitDoNotCount) {
  ASSERT_EQ(ReadWith({{Tail(100, "t2", 1), 50},                      // its index 0 is missing
                      {Tail(90, "t3", 0), 50},                       // within
                      {Tail(101, "t4", 0), 50},                      // behind a gap
                      {Tail(100, "t5", 0, "0123456789abcdef"), 50},  // of an older medium
                      {Tail(100, "t6", 0), 0},                       // empty
                      {"something else", 50}})
                .message,
            "");

  EXPECT_EQ(medium_.objects.size(), 1U);
  EXPECT_EQ(medium_.size, 100);
}

TEST_F(MediumTest, TwoContinuationsAreNotGuessedBetween) {
  const s3::Failure failure = ReadWith({{Tail(100, "t2", 0), 50}, {Tail(100, "t3", 0), 60}});

  EXPECT_EQ(failure.os_error, EIO);
  EXPECT_THAT(failure.message, HasSubstr("two continuations"));
  EXPECT_THAT(failure.message, HasSubstr(".t2.0"));
  EXPECT_THAT(failure.message, HasSubstr(".t3.0"));
}

TEST(MoreName, ParsesWhatItMakesAndNothingElse) {
  const s3::MoreName name{.medium_id = kId, .begin = 1LL << 50, .token = "T-1", .index = 7};
  s3::MoreName parsed;

  ASSERT_TRUE(s3::MoreName::Parse(name.tail(), &parsed));
  EXPECT_EQ(parsed.tail(), name.tail());
  for (std::size_t size = 0; size + 1 < name.tail().size(); ++size) {
    EXPECT_FALSE(s3::MoreName::Parse(name.tail().substr(0, size), &parsed)) << size;
  }
  EXPECT_FALSE(s3::MoreName::Parse(name.tail() + ".1", &parsed));
  EXPECT_FALSE(s3::MoreName::Parse(name.tail() + "x", &parsed));
}

TEST(WriteNote, RoundTripsAndEveryPrefixIsNoNote) {
  const s3::WriteNote note{.key = "a b/\xC3\xBC%.bak",
                           .token = "t-1",
                           .owner = s3::ThisProcess(),
                           .uploads = {{"key 1", "id/+="}, {"key 2", ""}}};
  const std::string text = s3::EncodeNote(note);
  s3::WriteNote read;

  ASSERT_TRUE(s3::DecodeNote(text, &read));
  EXPECT_EQ(s3::EncodeNote(read), text);
  EXPECT_EQ(read.key, note.key);
  EXPECT_EQ(read.uploads[0].id, "id/+=");
  EXPECT_EQ(read.uploads[1].id, "");
  for (std::size_t size = 0; size + 1 < text.size(); ++size) {
    EXPECT_FALSE(s3::DecodeNote(text.substr(0, size), &read)) << size;
  }
}

TEST(WriteNote, KnowsWhetherItsOwnerLives) {
  using s3::OwnerState;
  const std::string own = s3::ThisProcess();
  const std::string machine = own.substr(0, own.rfind('/', own.rfind('/') - 1));

  EXPECT_EQ(s3::StateOf(own), OwnerState::kThisProcess);
  EXPECT_EQ(s3::StateOf(machine + "/" + std::to_string(::getpid()) + "/1"), OwnerState::kDead);
  EXPECT_EQ(s3::StateOf(machine + "/999999999/1"), OwnerState::kDead);
  EXPECT_EQ(s3::StateOf("another-host/boot/1/1"), OwnerState::kElsewhere);
  EXPECT_EQ(s3::StateOf(""), OwnerState::kElsewhere);
}

}  // namespace
}  // namespace capstan::test
