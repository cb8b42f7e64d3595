#include "plugins/edge/failure.h"

#include <cerrno>
#include <cstring>

#include <gmock/gmock.h>

namespace capstan::edge {
namespace {

constexpr std::size_t kTextSizeMax = sizeof(capstan_error::message) - 1;

std::string Repeated(const std::string& character, std::size_t count) {
  std::string text;
  while (count-- > 0) {
    text += character;
  }
  return text;
}

TEST(Failure, IsOneOnlyWithAMessage) {
  EXPECT_FALSE(Failure::None().failed());
  EXPECT_FALSE(Failure{}.failed());
  EXPECT_TRUE(Failure::Of(0, "end of data").failed());
}

TEST(Failure, NamesItsMedium) {
  const Failure failure = Failure::Unable(ENOENT, "look up", "/srv/a.bak");

  EXPECT_EQ(failure.os_error, ENOENT);
  EXPECT_EQ(failure.message, "unable to look up medium '/srv/a.bak'");
}

TEST(Failure, WithinAnotherKeepsAllButTheMessage) {
  const Failure inner = Failure::Of(EBUSY, "somebody else has it", "wait").MayPass();

  const Failure outer = inner.Within("open it");

  EXPECT_EQ(outer.message, "unable to open it: somebody else has it");
  EXPECT_EQ(outer.os_error, EBUSY);
  EXPECT_EQ(outer.hint, "wait");
  EXPECT_TRUE(outer.transient);
  EXPECT_FALSE(Failure::None().Within("open it").failed());
}

TEST(FillError, TellsNumberWordsHintAndThatItMayPass) {
  capstan_error error;
  std::memset(&error, 'x', sizeof(error));

  FillError(Failure::Of(EBUSY, "it is busy", "wait").MayPass(), &error);

  EXPECT_EQ(error.os_error, EBUSY);
  EXPECT_EQ(error.flags, CAPSTAN_ERROR_TRANSIENT);
  EXPECT_STREQ(error.message, "it is busy");
  EXPECT_STREQ(error.hint, "wait");
}

TEST(FillError, LeavesNothingOfWhatWasThere) {
  capstan_error error;
  std::memset(&error, 'x', sizeof(error));

  FillError(Failure::None(), &error);

  EXPECT_EQ(error.os_error, 0);
  EXPECT_EQ(error.flags, 0U);
  EXPECT_STREQ(error.message, "");
  EXPECT_STREQ(error.hint, "");
}

TEST(FillError, KeepsATextThatJustFits) {
  capstan_error error{};
  const std::string text(kTextSizeMax, 'a');

  FillError(Failure::Of(EIO, text, text), &error);

  EXPECT_EQ(error.message, text);
  EXPECT_EQ(error.hint, text);
}

// 499 bytes are no multiple of what these characters take, but for the first.
TEST(FillError, CutsLongTextsBetweenCharacters) {
  for (const char* const character : {"a", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x93\xBC"}) {
    const std::size_t fit = kTextSizeMax / std::strlen(character);
    const std::string text = Repeated(character, fit + 1);
    capstan_error error{};

    FillError(Failure::Of(EIO, text, text), &error);

    EXPECT_EQ(error.message, Repeated(character, fit));
    EXPECT_EQ(error.hint, Repeated(character, fit));
  }
}

// A text that is no UTF-8 at all is cut to nothing rather than within what may be a character.
TEST(FillError, EndsWhereNoCharacterBegins) {
  capstan_error error{};

  FillError(Failure::Of(EIO, std::string(kTextSizeMax + 1, '\x80')), &error);

  EXPECT_STREQ(error.message, "");
}

TEST(CompletionCode, FollowsTheErrno) {
  const std::pair<int, std::uint32_t> cases[] = {
      {ENOSPC, 112U}, {EDQUOT, 112U},     {EFBIG, 223U},     {EACCES, 5U},   {EPERM, 5U},
      {EROFS, 5U},    {EKEYREJECTED, 5U}, {ECANCELED, 995U}, {EBADMSG, 23U}, {ENOTSUP, 50U}};
  for (const auto& [os_error, code] : cases) {
    EXPECT_EQ(CompletionCodeOf(os_error, CAPSTAN_OP_WRITE), code) << os_error;
    EXPECT_EQ(CompletionCodeOf(os_error, CAPSTAN_OP_READ), code) << os_error;
  }
}

TEST(CompletionCode, IsThatOfReadingOrWritingOtherwise) {
  EXPECT_EQ(CompletionCodeOf(EIO, CAPSTAN_OP_READ), 30U);
  EXPECT_EQ(CompletionCodeOf(EIO, CAPSTAN_OP_WRITE), 29U);
  EXPECT_EQ(CompletionCodeOf(EIO, CAPSTAN_OP_FLUSH), 29U);
  EXPECT_EQ(CompletionCodeOf(0, CAPSTAN_OP_COMPLETE), 29U);
}

}  // namespace
}  // namespace capstan::edge
