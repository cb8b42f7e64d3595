// Layouts as sqlcmd's documentation and its users' listings show them.
#include "tools/sqlcmd/result_layout.h"

#include <gtest/gtest.h>

namespace capstan::sqlcmd {
namespace {

std::string Laid(const LayoutOptions& options, const cli::ResultSet& set) {
  ResultLayout layout(options, set.columns);
  std::string text = layout.Header();
  for (const cli::Row& row : set.rows) {
    text += layout.Line(row);
  }
  return text + layout.Footer();
}

cli::ResultSet Databases() {
  return {.columns = {{"name", "nvarchar(8)"}, {"database_id", "int"}, {"on", "bit"}},
          .rows = {{"master", "1", "1"}, {"gr\xC3\xBCn", std::nullopt, "0"}}};
}

TEST(ResultLayout, PadsColumnsToTheWidthOfTheirTypes) {
  EXPECT_EQ(Laid({}, Databases()),
            "name     database_id on\n"
            "-------- ----------- --\n"
            "master             1  1\n"
            "gr\xC3\xBCn            NULL  0\n"
            "\n"
            "(2 rows affected)\n");
}

TEST(ResultLayout, LeavesNoNameOverAColumnWithoutOne) {
  const cli::ResultSet one{.columns = {{"", "int"}}, .rows = {{"1"}}};

  EXPECT_EQ(Laid({}, one),
            "           \n"
            "-----------\n"
            "          1\n"
            "\n"
            "(1 rows affected)\n");
  EXPECT_EQ(Laid({.trim = true}, one), "\n-\n1\n\n(1 rows affected)\n");
}

TEST(ResultLayout, KnowsTheWidthOfEveryType) {
  const auto width = [](const char* type) {
    ResultLayout layout(LayoutOptions{}, {{"", type}});
    return layout.Header().find('\n');
  };
  EXPECT_EQ(width("bit"), 1u);
  EXPECT_EQ(width("tinyint"), 3u);
  EXPECT_EQ(width("smallint"), 6u);
  EXPECT_EQ(width("int"), 11u);
  EXPECT_EQ(width("bigint"), 20u);
  EXPECT_EQ(width("real"), 14u);
  EXPECT_EQ(width("float"), 24u);
  EXPECT_EQ(width("numeric(25,0)"), 27u);
  EXPECT_EQ(width("decimal"), 20u);
  EXPECT_EQ(width("datetime"), 23u);
  EXPECT_EQ(width("uniqueidentifier"), 36u);
  EXPECT_EQ(width("nvarchar(128)"), 128u);
  EXPECT_EQ(width("varbinary(4)"), 8u);
  EXPECT_EQ(width("nvarchar(max)"), 256u);
  EXPECT_EQ(width("something"), 256u);
  EXPECT_EQ(width("nvarchar(999999999)"), 8000u);
}

TEST(ResultLayout, TrimsTrailingSpacesWithW) {
  EXPECT_EQ(Laid({.trim = true}, Databases()),
            "name database_id on\n"
            "---- ----------- --\n"
            "master 1 1\n"
            "gr\xC3\xBCn NULL 0\n"
            "\n"
            "(2 rows affected)\n");
}

TEST(ResultLayout, SeparatesWithS) {
  EXPECT_EQ(Laid({.header_every = -1, .separator = ",", .trim = true}, Databases()),
            "master,1,1\ngr\xC3\xBCn,NULL,0\n\n(2 rows affected)\n");
  EXPECT_EQ(Laid({.header_every = -1, .separator = "|"}, Databases()),
            "master  |          1| 1\ngr\xC3\xBCn    |       NULL| 0\n\n(2 rows affected)\n");
}

TEST(ResultLayout, RepeatsHeadingsOrLeavesThemOutWithH) {
  const cli::ResultSet three{.columns = {{"n", "bit"}}, .rows = {{"0"}, {"1"}, {"0"}}};

  EXPECT_EQ(Laid({.header_every = -1}, three), "0\n1\n0\n\n(3 rows affected)\n");
  EXPECT_EQ(Laid({.header_every = 2}, three), "n\n-\n0\n1\n\nn\n-\n0\n\n(3 rows affected)\n");
}

TEST(ResultLayout, BreaksLinesAtTheScreenWidth) {
  EXPECT_EQ(
      Laid({.screen_width = 9}, {.columns = {{"name", "char(12)"}}, .rows = {{"abcdefghijkl"}}}),
      "name     \n   \n---------\n---\nabcdefghi\njkl\n\n(1 rows affected)\n");
}

TEST(ResultLayout, CutsTextsButNeverNumbers) {
  const cli::ResultSet set{.columns = {{"t", "nvarchar(max)"}, {"c", "char(9)"}, {"n", "int"}},
                           .rows = {{"abcdef", "123456789", "123456789012"}}};

  EXPECT_EQ(Laid({.header_every = -1, .variable_width = 3, .fixed_width = 4}, set),
            "abc 1234 123456789012\n\n(1 rows affected)\n");
  EXPECT_EQ(Laid({.variable_width = 0}, set),
            "abcdef 123456789 123456789012\n\n(1 rows affected)\n");
}

TEST(ResultLayout, KeepsARowOnItsLine) {
  EXPECT_EQ(Laid({.header_every = -1}, {.columns = {{"t", "char(9)"}}, .rows = {{"a\nb\x1b[2J"}}}),
            "a b?[2J  \n\n(1 rows affected)\n");
}

}  // namespace
}  // namespace capstan::sqlcmd
