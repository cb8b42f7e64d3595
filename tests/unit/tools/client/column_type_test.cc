#include "tools/client/column_type.h"

#include <gtest/gtest.h>

namespace capstan::cli {
namespace {

TEST(ParseColumnType, TakesTheSizeAndMaxApart) {
  EXPECT_EQ(ParseColumnType("nvarchar(128)").base, "nvarchar");
  EXPECT_EQ(ParseColumnType("nvarchar(128)").size, 128);
  EXPECT_EQ(ParseColumnType("decimal(25,2)").size, 25);
  EXPECT_TRUE(ParseColumnType("nvarchar(max)").is_max);
  EXPECT_EQ(ParseColumnType("nvarchar(max)").size, std::nullopt);
  EXPECT_EQ(ParseColumnType("int").base, "int");
}

TEST(ParseColumnType, HasNoSizeWhereNoneIsWritten) {
  for (const char* const type :
       {"", "int", "nvarchar(", "nvarchar()", "nvarchar(x)", "char(-1)", "char(99999999999999)"}) {
    EXPECT_EQ(ParseColumnType(type).size, std::nullopt) << type;
    EXPECT_FALSE(ParseColumnType(type).is_max) << type;
  }
}

TEST(IsNumericType, KnowsNumbersWithAndWithoutASize) {
  EXPECT_TRUE(IsNumericType("int"));
  EXPECT_TRUE(IsNumericType("numeric(25,0)"));
  EXPECT_FALSE(IsNumericType("nvarchar(10)"));
  EXPECT_FALSE(IsNumericType("bit"));
}

}  // namespace
}  // namespace capstan::cli
