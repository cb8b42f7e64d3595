#include "tools/client/message_text.h"

#include <gtest/gtest.h>

namespace capstan::cli {
namespace {

ServerMessage CannotOpen() {
  return {.number = 3201,
          .severity = 16,
          .state = 1,
          .line = 2,
          .text = "Cannot open backup device 'x'. Operating system error 5(Access is denied.).",
          .hint = "",
          .server_name = "SALES"};
}

TEST(FormatMessage, HeadsAnErrorAndNamesTheServerIfAsked) {
  EXPECT_EQ(FormatMessage(CannotOpen()),
            "Msg 3201, Level 16, State 1, Line 2\n"
            "Cannot open backup device 'x'. Operating system error 5(Access is denied.).\n");
  EXPECT_EQ(FormatMessage(CannotOpen(), "SALES"),
            "Msg 3201, Level 16, State 1, Server SALES, Line 2\n"
            "Cannot open backup device 'x'. Operating system error 5(Access is denied.).\n");
}

TEST(FormatMessage, PrintsInformationAsItIs) {
  ServerMessage message = CannotOpen();
  message.severity = 10;
  message.text = "two\nlines\n";
  message.hint = "do this";

  EXPECT_EQ(FormatMessage(message, "SALES"), "two\nlines\nHINT: do this\n");
}

TEST(FormatMessage, LetsNoEscapeSequenceThrough) {
  ServerMessage message = CannotOpen();
  message.text = "a\x1b[2Jb";

  EXPECT_EQ(FormatMessage(message, "x\x1b[1m"),
            "Msg 3201, Level 16, State 1, Server x?[1m, Line 2\na?[2Jb\n");
}

TEST(FormatRowCount, FollowsABlankLine) {
  EXPECT_EQ(FormatRowCount(0), "\n(0 rows affected)\n");
  EXPECT_EQ(FormatRowCount(1), "\n(1 rows affected)\n");
}

}  // namespace
}  // namespace capstan::cli
