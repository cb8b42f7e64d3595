#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/tsql/parse_helpers.h"

namespace capstan::tsql {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(SplitBatches, CutsAtLinesThatHoldOnlyGo) {
  EXPECT_THAT(SplitBatches("a\nGO\nb\n  go  \r\nc\ngO"), ElementsAre("a\n", "b\n", "c\n"));
  EXPECT_THAT(SplitBatches("a\nGO -- done\nb"), ElementsAre("a\n", "b"));
  EXPECT_THAT(SplitBatches("no separator"), ElementsAre("no separator"));
}

TEST(SplitBatches, LeavesBlankBatchesOut) {
  EXPECT_THAT(SplitBatches(""), IsEmpty());
  EXPECT_THAT(SplitBatches("GO\nGO\n \n\t\nGO"), IsEmpty());
}

TEST(SplitBatches, RepeatsByCount) {
  EXPECT_THAT(SplitBatches("a\nGO 3\nb"), ElementsAre("a\n", "a\n", "a\n", "b"));
  EXPECT_THAT(SplitBatches("a\nGO 0\nb"), ElementsAre("b"));
  EXPECT_THAT(SplitBatches("a\nGO 2 -- twice\n"), ElementsAre("a\n", "a\n"));
}

TEST(SplitBatches, DoesNotCutInsideQuotesAndComments) {
  for (const char* script : {"PRINT 'x\nGO\ny'", "/* x\nGO\n/* y */\nGO\n*/", "SELECT [x\nGO\ny]",
                             "SELECT \"x\nGO\ny\"", "PRINT 'it''s\nGO\n'"}) {
    EXPECT_THAT(SplitBatches(script), ElementsAre(script));
  }
  EXPECT_THAT(SplitBatches("-- it's a comment\nGO\nb"), ElementsAre("-- it's a comment\n", "b"));
  EXPECT_THAT(SplitBatches("/* a */ b\nGO\nc"), ElementsAre("/* a */ b\n", "c"));
}

TEST(SplitBatches, DoesNotCutWhereGoIsPartOfMore) {
  for (const char* script : {"GOTO x", "GO5", "GO 5 x", "GO x", "x GO", "GO 1.5", "GO -1", "GO;",
                             "GO 99999999999999999999"}) {
    EXPECT_THAT(SplitBatches(script), ElementsAre(script));
  }
}

TEST(SplitBatches, KeepsAnUnclosedQuoteForTheParserToReport) {
  const std::vector<std::string> batches = SplitBatches("a\nGO\nPRINT 'x\nGO\n");

  ASSERT_THAT(batches, SizeIs(2));
  ExpectError({batches[1], 105, "Unclosed quotation mark", 1});
}

TEST(SplitBatches, DoesNotRepeatBeyondMemory) {
  const std::vector<std::string> batches = SplitBatches("PRINT 'x'\nGO 1000000000\n");

  ASSERT_THAT(batches, SizeIs(1));
  ExpectError({batches[0], 102, "near 'GO'", 2});
  EXPECT_THAT(SplitBatches("PRINT 'x'\nGO 1000\n"), SizeIs(1000));
}

TEST(SplitBatches, BoundsTheSumOfAllRepetitions) {
  std::string script;
  for (int i = 0; i < 100; ++i) {
    script += "x\nGO 100000\n";
  }

  EXPECT_LT(SplitBatches(script).size(), 1'000'000U);
}

}  // namespace
}  // namespace capstan::tsql
