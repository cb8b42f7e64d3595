#include "tools/sqlcmd/variables.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::sqlcmd {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

TEST(Variables, ReplaceTheirNamesInAnyCase) {
  Variables variables;
  ASSERT_THAT(variables.Set("Path", "/b"), IsOk());
  ASSERT_THAT(variables.Set("n", "$(path)"), IsOk());

  EXPECT_EQ(*variables.Expand("TO '$(PATH)/$(path).bak'"), "TO '/b//b.bak'");
  EXPECT_EQ(*variables.Expand("$(n)"), "$(path)");  // once, not again and again
  EXPECT_EQ(*variables.Expand("$ $( $(a b) $() $"), "$ $( $(a b) $() $");
}

TEST(Variables, ComeFromTheEnvironmentLast) {
  Variables variables([](const char* name) -> std::optional<std::string> {
    return std::string(name) == "HOME" ? std::optional<std::string>("/root") : std::nullopt;
  });

  EXPECT_EQ(*variables.Expand("$(HOME)"), "/root");
  ASSERT_THAT(variables.Set("HOME", "/x"), IsOk());
  EXPECT_EQ(*variables.Expand("$(HOME)"), "/x");
  variables.Unset("home");
  EXPECT_EQ(*variables.Expand("$(HOME)"), "/root");
}

TEST(Variables, RefuseWhatIsNotDefinedOrNoName) {
  Variables variables;

  EXPECT_THAT(variables.Expand("a $(nothing)"), HasCode(Code::kNotFound));
  EXPECT_THAT(variables.Expand("a $(nothing)"),
              MessageHas("'nothing' scripting variable not defined."));
  EXPECT_THAT(variables.Set("a b", "1"), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(variables.Set("", "1"), HasCode(Code::kInvalidArgument));
}

TEST(Variables, StayTextWhenDisabled) {
  Variables variables;
  variables.Disable();

  EXPECT_EQ(*variables.Expand("$(nothing)"), "$(nothing)");
}

}  // namespace
}  // namespace capstan::sqlcmd
