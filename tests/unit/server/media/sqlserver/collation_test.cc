#include "server/media/sqlserver/collation.h"

#include <gtest/gtest.h>

namespace capstan::media::sqlserver {
namespace {

TEST(Collation, IsNamedByItsSortOrderIfItHasOne) {
  EXPECT_EQ(CollationName(0x00D00409, 52), "SQL_Latin1_General_CP1_CI_AS");
  EXPECT_EQ(CollationName(0x00D00409, 250), std::nullopt);
}

TEST(Collation, IsNamedByLocaleAndFlagsOtherwise) {
  EXPECT_EQ(CollationName(0x00D00409, 0), "Latin1_General_CI_AS");
  EXPECT_EQ(CollationName(0x00C00419, 0), "Cyrillic_General_CS_AS");
  EXPECT_EQ(CollationName(0x00300411, 0), "Japanese_CI_AI_KS_WS");
  EXPECT_EQ(CollationName(0x01000409, 0), "Latin1_General_BIN");
}

TEST(Collation, IsNotGuessed) {
  EXPECT_EQ(CollationName(0x20D00409, 0), std::nullopt);  // _100, with or without _SC
  EXPECT_EQ(CollationName(0x04D00409, 0), std::nullopt);
  EXPECT_EQ(CollationName(0x00D0FFFF, 0), std::nullopt);
}

}  // namespace
}  // namespace capstan::media::sqlserver
