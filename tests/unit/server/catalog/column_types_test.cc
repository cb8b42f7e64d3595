#include "server/catalog/column_types.h"

#include <gtest/gtest.h>

namespace capstan::catalog {
namespace {

TEST(ColumnTypes, GoToADeclarationAndBack) {
  for (const std::string type :
       {"int", "bigint", "nvarchar(128)", "datetime", "uniqueidentifier", "bit", "numeric(10,0)"}) {
    EXPECT_EQ(DeclarationOf(type), type);
    EXPECT_EQ(TypeOfDeclaration(type.c_str()), type);
  }
}

TEST(ColumnTypes, KeepNumbersBeyond64BitsAsText) {
  EXPECT_EQ(DeclarationOf("numeric(25,0)"), "numeric_text(25,0) COLLATE capstan_decimal");
  EXPECT_EQ(TypeOfDeclaration("numeric_text(25,0)"), "numeric(25,0)");
}

// A live table with an nvarchar(max) column could not be queried at all.
TEST(ColumnTypes, TakeMaxForALength) {
  EXPECT_EQ(DeclarationOf("nvarchar(max)"), "nvarchar(2147483647)");
  EXPECT_EQ(TypeOfDeclaration("nvarchar(2147483647)"), "nvarchar(max)");
}

TEST(ColumnTypes, DropWhatCouldEndADeclaration) {
  EXPECT_EQ(DeclarationOf("INT); DROP TABLE \"x\" --"), "int)droptablex");
}

TEST(ColumnTypes, ShowRowIdentifiersAsInt) {
  EXPECT_EQ(TypeOfDeclaration("INTEGER"), "int");
}

TEST(ColumnTypes, AreEmptyForExpressions) {
  EXPECT_EQ(TypeOfDeclaration(nullptr), "");
}

}  // namespace
}  // namespace capstan::catalog
