// The table and the JSON of the same result sets.
#include <gtest/gtest.h>

#include "tools/capstan/json_printer.h"
#include "tools/capstan/table_printer.h"

namespace capstan::cli {
namespace {

ResultSet Databases() {
  return {.columns = {{"name", "nvarchar(128)"}, {"database_id", "int"}, {"note", "nvarchar"}},
          .rows = {{"sales", "5", std::nullopt},
                   {"\xE6\x97\xA5\xE6\x9C\xAC", "12345678901", "x"},
                   {"gr\xC3\xBCn", std::nullopt, ""}}};
}

TEST(FormatTable, AlignsByCellsAndNumbersAtTheRight) {
  EXPECT_EQ(FormatTable(Databases()),
            "name  database_id note\n"
            "----- ----------- ----\n"
            "sales           5 NULL\n"
            "\xE6\x97\xA5\xE6\x9C\xAC  12345678901 x\n"
            "gr\xC3\xBCn         NULL\n");
}

TEST(FormatTable, KeepsARowOnItsLine) {
  const ResultSet set{.columns = {{"text", "nvarchar"}, {"", "nvarchar"}},
                      .rows = {{"a\nb\x1b[2J", "y"}}};

  EXPECT_EQ(FormatTable(set), "text\n------- -\na b?[2J y\n");
}

TEST(FormatTable, ShowsTheHeaderOfNothing) {
  EXPECT_EQ(FormatTable({.columns = {{"a", "int"}}, .rows = {}}), "a\n-\n");
}

TEST(FormatJson, KeepsTypesAndNulls) {
  EXPECT_EQ(FormatJson(Databases()),
            "[\n"
            "  {\"name\": \"sales\", \"database_id\": 5, \"note\": null},\n"
            "  {\"name\": \"\xE6\x97\xA5\xE6\x9C\xAC\", \"database_id\": 12345678901, "
            "\"note\": \"x\"},\n"
            "  {\"name\": \"gr\xC3\xBCn\", \"database_id\": null, \"note\": \"\"}\n"
            "]\n");
  EXPECT_EQ(FormatJson({}), "[]\n");
}

TEST(FormatJson, WritesOnlyValidNumbersAsNumbers) {
  const ResultSet set{.columns = {{"a", "int"},
                                  {"b", "float"},
                                  {"c", "bit"},
                                  {"d", "numeric(25,0)"},
                                  {"e", "bigint"},
                                  {"f", "real"},
                                  {"g", "int"}},
                      .rows = {{"-3", "1.5e+10", "1", "4000000012345600001", "007", "1.", ""}}};

  EXPECT_EQ(FormatJson(set),
            "[\n  {\"a\": -3, \"b\": 1.5e+10, \"c\": true, \"d\": \"4000000012345600001\", "
            "\"e\": \"007\", \"f\": \"1.\", \"g\": \"\"}\n]\n");
}

TEST(FormatJson, GivesEveryColumnAKeyOfItsOwn) {
  const ResultSet set{.columns = {{"", "int"}, {"a", "int"}, {"a", "int"}, {"a_2", "int"}},
                      .rows = {{"1", "2", "3", "4"}}};

  EXPECT_EQ(FormatJson(set), "[\n  {\"column_1\": 1, \"a\": 2, \"a_2\": 3, \"a_2_2\": 4}\n]\n");
}

TEST(JsonString, EscapesWhatJsonForbids) {
  EXPECT_EQ(JsonString("a\"b\\c\n\x01\x7F/"), "\"a\\\"b\\\\c\\u000a\\u0001\\u007f/\"");
  EXPECT_EQ(JsonString("x\xFFy\xC3"), "\"x\\ufffdy\\ufffd\"");
  EXPECT_EQ(JsonString(std::string_view("\0", 1)), "\"\\u0000\"");
}

}  // namespace
}  // namespace capstan::cli
