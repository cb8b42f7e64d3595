#include "tools/client/text_width.h"

#include <gtest/gtest.h>

namespace capstan::cli {
namespace {

TEST(DisplayWidth, CountsCellsNotBytes) {
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("gr\xC3\xBC\xC3\x9F"), 4);        // u with dots, sharp s
  EXPECT_EQ(DisplayWidth("\xE6\x97\xA5\xE6\x9C\xAC"), 4);  // two Han characters
  EXPECT_EQ(DisplayWidth("\xED\x95\x9C"), 2);              // Hangul
  EXPECT_EQ(DisplayWidth("e\xCC\x81"), 1);                 // e and a combining accent
  EXPECT_EQ(DisplayWidth("\xF0\x9F\x98\x80"), 2);          // an emoji
  EXPECT_EQ(DisplayWidth("\xEF\xBD\xB1\xEF\xBC\xA1"), 3);  // halfwidth, fullwidth
  EXPECT_EQ(DisplayWidth("\xFF\xC3"), 2);                  // invalid bytes
}

TEST(Printable, TakesTheTeethOutOfControlCharacters) {
  EXPECT_EQ(Printable("a\tb\nc\x1b[31m\x7F"), "a b c?[31m?");
  EXPECT_EQ(Printable("\xC2\x9B"), "?");  // the one-character form of ESC [
  EXPECT_EQ(Printable("x\xFFy"), "x\xEF\xBF\xBDy");
}

TEST(IsUtf8, RefusesOverlongFormsSurrogatesAndCutOffs) {
  EXPECT_TRUE(IsUtf8("\xF4\x8F\xBF\xBF"));
  for (const char* const text : {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                 "\xE6\x97", "\x80", "\xF8\x88\x80\x80\x80"}) {
    EXPECT_FALSE(IsUtf8(text)) << text;
  }
  EXPECT_EQ(Utf8PrefixSize("ab\xFF"), 2u);
}

TEST(Padding, FillsUpToTheWidthAndNeverCuts) {
  EXPECT_EQ(PadRight("\xE6\x97\xA5", 4), "\xE6\x97\xA5  ");
  EXPECT_EQ(PadLeft("ab", 4), "  ab");
  EXPECT_EQ(PadLeft("abcde", 4), "abcde");
}

TEST(Shortening, FitsAnyWidthAndMarksTheCut) {
  EXPECT_EQ(ShortenMiddle("/backup/sales.bak", 11), "/back\xE2\x80\xA6s.bak");
  EXPECT_EQ(ShortenEnd("/backup/sales.bak", 8), "/backup\xE2\x80\xA6");
  EXPECT_EQ(ShortenEnd("abc", 3), "abc");
  const std::string wide = "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE6\x97\xA5\xE6\x9C\xAC";
  for (int width = 0; width <= 12; ++width) {
    EXPECT_LE(DisplayWidth(ShortenMiddle(wide, width)), width);
    EXPECT_LE(DisplayWidth(ShortenEnd(wide, width)), width);
    EXPECT_TRUE(IsUtf8(ShortenMiddle(wide, width)));
  }
}

}  // namespace
}  // namespace capstan::cli
