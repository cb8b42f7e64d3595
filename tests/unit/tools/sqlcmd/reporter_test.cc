#include "tools/sqlcmd/reporter.h"

#include <cstdlib>
#include <memory>

#include <gtest/gtest.h>

namespace capstan::sqlcmd {
namespace {

// A stream whose text can be read back.
class TextStream {
 public:
  TextStream() : stream_(::open_memstream(&text_, &size_)) {}
  ~TextStream() {
    std::fclose(stream_);
    std::free(text_);  // NOLINT(cppcoreguidelines-no-malloc): open_memstream's
  }
  TextStream(const TextStream&) = delete;
  TextStream& operator=(const TextStream&) = delete;

  std::FILE* stream() { return stream_; }
  std::string text() {
    std::fflush(stream_);
    return {text_, size_};
  }

 private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* stream_;
};

cli::ServerMessage Message(int number, int severity, std::string text) {
  return {.number = number,
          .severity = severity,
          .state = 1,
          .line = 1,
          .text = std::move(text),
          .hint = "",
          .server_name = ""};
}

class ReporterTest : public testing::Test {
 protected:
  // What a BACKUP that fails says, after a result set.
  void Play() {
    Reporter reporter(options_, {out_.stream(), error_.stream()}, "HOST");
    reporter.OnResultSet({{"a", "bit"}});
    reporter.OnRow({"1"});
    reporter.OnMessage(Message(3211, 0, "10 percent processed."));
    cli::ServerMessage cannot_open = Message(3201, 16, "Cannot open.");
    cannot_open.server_name = "SALES";
    cannot_open.hint = "look there";
    reporter.OnMessage(cannot_open);
    reporter.OnMessage(Message(3013, 16, "BACKUP DATABASE is terminating abnormally."));
    reporter.Finish();
    severity_ = reporter.severity();
  }

  Options options_;
  TextStream out_;
  TextStream error_;
  int severity_ = 0;
};

TEST_F(ReporterTest, PrintsEverythingInOrderAndErrorsToo) {
  Play();

  EXPECT_EQ(out_.text(),
            "a\n-\n1\n\n(1 rows affected)\n"
            "10 percent processed.\n"
            "Msg 3201, Level 16, State 1, Server SALES, Line 1\n"
            "Cannot open.\n"
            "HINT: look there\n"
            "Msg 3013, Level 16, State 1, Server HOST, Line 1\n"
            "BACKUP DATABASE is terminating abnormally.\n");
  EXPECT_EQ(error_.text(), "");
  EXPECT_EQ(severity_, 16);
}

TEST_F(ReporterTest, SendsErrorsToStandardErrorWithR) {
  options_.standard_error = StandardError::kErrors;

  Play();

  EXPECT_EQ(out_.text(), "a\n-\n1\n\n(1 rows affected)\n10 percent processed.\n");
  EXPECT_NE(error_.text().find("Msg 3201"), std::string::npos);
}

TEST_F(ReporterTest, SendsAllMessagesToStandardErrorWithR1) {
  options_.standard_error = StandardError::kAllMessages;

  Play();

  EXPECT_EQ(out_.text(), "a\n-\n1\n\n(1 rows affected)\n");
  EXPECT_EQ(error_.text().find("10 percent processed.\nMsg 3201"), 0u);
}

TEST_F(ReporterTest, LeavesSmallErrorsOutWithMButCountsThem) {
  options_.print_severity = 17;

  Play();

  EXPECT_EQ(out_.text(), "a\n-\n1\n\n(1 rows affected)\n10 percent processed.\n");
  EXPECT_EQ(severity_, 16);
}

TEST_F(ReporterTest, EndsAResultSetThatNothingFollows) {
  Reporter reporter(options_, {out_.stream(), error_.stream()}, "HOST");

  reporter.OnResultSet({{"a", "bit"}});
  reporter.OnResultSet({{"b", "bit"}});
  reporter.Finish();

  EXPECT_EQ(out_.text(), "a\n-\n\n(0 rows affected)\nb\n-\n\n(0 rows affected)\n");
}

}  // namespace
}  // namespace capstan::sqlcmd
