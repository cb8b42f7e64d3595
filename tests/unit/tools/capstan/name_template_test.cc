#include "tools/capstan/name_template.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::cli {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

const NameTags kTags{
    .database = "sa/les", .type = "FULL", .server = "host1", .date = "20261121", .time = "093005"};

// S1-47
TEST(NameTemplate, PutsValuesInPlaceOfTags) {
  EXPECT_EQ(ExpandName("/b/{server}/{database}_{type}_{date}_{time}.bak", kTags),
            "/b/host1/sa_les_FULL_20261121_093005.bak");
  EXPECT_EQ(ExpandName("plain", kTags), "plain");
  EXPECT_EQ(ExpandName("{{date}} {date}", kTags), "{date} 20261121");
  EXPECT_EQ(ExpandName("", kTags), "");
}

TEST(NameTemplate, SaysWhichTagIsNone) {
  EXPECT_THAT(CheckNameTemplate("/b/{server}.bak"), IsOk());
  const Status unknown = CheckNameTemplate("/b/{day}.bak");
  EXPECT_THAT(unknown, HasCode(Code::kInvalidArgument));
  EXPECT_THAT(unknown, MessageHas("'{day}'"));
  EXPECT_NE(unknown.hint().find("{database}"), std::string_view::npos);
  for (const char* text : {"{", "}", "a{", "{date", "date}", "{}", "{ date}", "{Date}"}) {
    EXPECT_THAT(CheckNameTemplate(text), HasCode(Code::kInvalidArgument)) << text;
  }
}

TEST(NameTemplate, EscapesWhatIsNoTemplate) {
  for (const char* text : {"", "/b/x.bak", "{date}", "}{", "{{x}}"}) {
    ASSERT_THAT(CheckNameTemplate(EscapeName(text)), IsOk()) << text;
    EXPECT_EQ(ExpandName(EscapeName(text), kTags), text);
  }
}

}  // namespace
}  // namespace capstan::cli
