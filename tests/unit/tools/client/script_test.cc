#include "tools/client/script.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::cli {
namespace {

using test::HasCode;
using test::IsOk;

std::vector<std::string> Texts(std::string_view script) {
  const Result<std::vector<Batch>> batches = SplitScript(script);
  EXPECT_THAT(batches, IsOk());
  std::vector<std::string> texts;
  for (const Batch& batch : *batches) {
    texts.push_back(batch.text);
  }
  return texts;
}

using Strings = std::vector<std::string>;

TEST(SplitScript, IsOneBatchWithoutGo) {
  EXPECT_EQ(Texts("PRINT 1"), Strings({"PRINT 1"}));
  EXPECT_EQ(Texts(""), Strings());
  EXPECT_EQ(Texts(" \n\t\n"), Strings());
}

TEST(SplitScript, SeparatesAtLinesThatHoldOnlyGo) {
  EXPECT_EQ(Texts("a\nGO\nb\r\n  go \r\nGo\nc"), Strings({"a\n", "b\r\n", "c"}));
  EXPECT_EQ(Texts("a\nGOTO x\nGO b\nGO1\ngo 1 2\nago\n"),
            Strings({"a\nGOTO x\nGO b\nGO1\ngo 1 2\nago\n"}));
}

TEST(SplitScript, RepeatsABatchByTheCount) {
  const Result<std::vector<Batch>> batches = SplitScript("a\nGO 3\nb\nGO\nc\nGO 0\nd\nGO -1\n");

  ASSERT_THAT(batches, IsOk());
  ASSERT_EQ(batches->size(), 3u);
  EXPECT_EQ((*batches)[0].repetitions, 3);
  EXPECT_EQ((*batches)[1].repetitions, 1);
  EXPECT_EQ((*batches)[2].text, "d\nGO -1\n");
}

TEST(SplitScript, LeavesGoInsideTextsAndCommentsAlone) {
  for (const char* const script : {"PRINT 'a\nGO\nb'\n", "/* a\nGO\n/* b */\nGO\n*/ PRINT 1",
                                   "SELECT [a\nGO\n]", "SELECT \"a\nGO\n\""}) {
    EXPECT_EQ(Texts(script), Strings({script}));
  }
}

TEST(SplitScript, IsNotMisledByQuotesInCommentsOrDoubledOnes) {
  EXPECT_EQ(Texts("-- it's\nGO\nb"), Strings({"-- it's\n", "b"}));
  EXPECT_EQ(Texts("/* it's */\nGO\nb"), Strings({"/* it's */\n", "b"}));
  EXPECT_EQ(Texts("PRINT 'it''s'\nGO\nb"), Strings({"PRINT 'it''s'\n", "b"}));
  EXPECT_EQ(Texts("PRINT '-- /*'\nGO\nb"), Strings({"PRINT '-- /*'\n", "b"}));
}

TEST(SplitScript, DropsTheByteOrderMarkAndRefusesOtherEncodings) {
  EXPECT_EQ(Texts("\xEF\xBB\xBFPRINT 1"), Strings({"PRINT 1"}));
  EXPECT_THAT(SplitScript("\xFF\xFEP"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(SplitScript("PRINT '\xFC'"), HasCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace capstan::cli
