#include "tools/sqlcmd/options.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::sqlcmd {
namespace {

using test::HasCode;
using test::MessageHas;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class OptionsTest : public testing::Test {
 protected:
  Environment environment() {
    return [this](const char* name) -> std::optional<std::string> {
      const auto found = variables_.find(name);
      return found != variables_.end() ? std::optional(found->second) : std::nullopt;
    };
  }

  Options Parse(const std::vector<std::string>& arguments) {
    auto parsed = ParseOptions(arguments, environment());
    if (const Answer* const answer = std::get_if<Answer>(&parsed)) {
      ADD_FAILURE() << answer->text;
      return {};
    }
    return std::get<Options>(std::move(parsed));
  }

  // What is printed instead; the exit status must be 1.
  std::string Refusal(const std::vector<std::string>& arguments) {
    const auto parsed = ParseOptions(arguments, environment());
    const Answer* const answer = std::get_if<Answer>(&parsed);
    EXPECT_TRUE(answer != nullptr && answer->exit_status == kExitFailed);
    return answer != nullptr ? answer->text : "";
  }

  std::map<std::string, std::string> variables_;
};

TEST_F(OptionsTest, TakesWhatVdiProgramsWrite) {
  const Options options = Parse({"-U", "sa", "-P", "secret", "-S", ".", "-Q", "BACKUP DATABASE x"});

  EXPECT_EQ(options.credentials.login, "sa");
  EXPECT_EQ(options.credentials.password, "secret");
  EXPECT_EQ(options.endpoint.written, cli::kDefaultServer);
  EXPECT_EQ(options.query, "BACKUP DATABASE x");
  EXPECT_TRUE(options.exit_after_query);
  EXPECT_FALSE(options.stop_on_error);
  EXPECT_FALSE(options.ask_password);
}

TEST_F(OptionsTest, TakesAttachedAndSeparateValues) {
  const Options options = Parse(
      {"-Usa", "-P-x", "-h-1", "-s,", "-y", "30", "-Y9", "-w", "999", "-t5", "-l", "0", "-m11"});

  EXPECT_EQ(options.credentials.login, "sa");
  EXPECT_EQ(options.credentials.password, "-x");
  EXPECT_EQ(options.layout.header_every, -1);
  EXPECT_EQ(options.layout.separator, ",");
  EXPECT_EQ(options.layout.variable_width, 30);
  EXPECT_EQ(options.layout.fixed_width, 9);
  EXPECT_EQ(options.layout.screen_width, 999);
  EXPECT_EQ(options.query_timeout, std::chrono::seconds(5));
  EXPECT_GT(options.login_timeout, std::chrono::hours(1));
  EXPECT_EQ(options.print_severity, 11);
  EXPECT_EQ(Parse({"-h", "-1"}).layout.header_every, -1);
}

TEST_F(OptionsTest, TakesSwitchesWithoutAValueTogether) {
  const Options options = Parse({"-bWeQ", "PRINT 1"});

  EXPECT_TRUE(options.stop_on_error);
  EXPECT_TRUE(options.layout.trim);
  EXPECT_TRUE(options.echo);
  EXPECT_EQ(options.query, "PRINT 1");
}

TEST_F(OptionsTest, TakesWhatHasNoMeaningHere) {
  const Options options =
      Parse({"-E", "-C", "-N",     "-Nm", "-I",   "-X1", "-k2",      "-R",     "-A", "-M",     "-g",
             "-j", "-d", "master", "-H",  "host", "-K",  "ReadOnly", "-a4096", "-q", "PRINT 1"});

  EXPECT_EQ(options.query, "PRINT 1");
  EXPECT_FALSE(options.exit_after_query);
}

TEST_F(OptionsTest, ReadsLoginsFromTheEnvironment) {
  variables_ = {{"SQLCMDUSER", "a"},
                {"SQLCMDPASSWORD", "b"},
                {"CAPSTAN_USER", "c"},
                {"CAPSTAN_PASSWORD", "d"},
                {"SQLCMDSERVER", "unix:/s"}};
  EXPECT_EQ(Parse({}).credentials.login, "a");
  EXPECT_EQ(Parse({}).credentials.password, "b");
  EXPECT_EQ(Parse({}).endpoint.unix_path, "/s");
  EXPECT_EQ(Parse({"-Ux", "-Py"}).credentials.login, "x");
  EXPECT_EQ(Parse({"-Ux", "-Py"}).credentials.password, "y");
  EXPECT_EQ(Parse({"-E"}).credentials.login, "");
  EXPECT_EQ(Parse({"-E"}).credentials.password, std::nullopt);

  variables_ = {{"CAPSTAN_USER", "c"}, {"CAPSTAN_PASSWORD", "d"}};
  EXPECT_EQ(Parse({}).credentials.login, "c");
  EXPECT_EQ(Parse({}).credentials.password, "d");
}

TEST_F(OptionsTest, AsksForAPasswordOnlyWhereALoginHasNone) {
  EXPECT_TRUE(Parse({"-Usa"}).ask_password);
  EXPECT_FALSE(Parse({"-Usa", "-P"}).ask_password);
  EXPECT_EQ(Parse({"-Usa", "-P"}).credentials.password, "");
  EXPECT_FALSE(Parse({}).ask_password);
}

TEST_F(OptionsTest, SplitsInputFilesAndVariables) {
  const Options options =
      Parse({"-i", "a.sql,\"b,c.sql\"", "-id.sql", "-v", "x=1", "y=a=b", "-v", "z="});

  EXPECT_THAT(options.input_files, ElementsAre("a.sql", "b,c.sql", "d.sql"));
  EXPECT_EQ(*options.variables.Expand("$(x) $(Y) $(z)."), "1 a=b .");
}

TEST_F(OptionsTest, RedirectsErrorsOrAllMessages) {
  EXPECT_EQ(Parse({}).standard_error, StandardError::kNothing);
  EXPECT_EQ(Parse({"-r"}).standard_error, StandardError::kErrors);
  EXPECT_EQ(Parse({"-r0"}).standard_error, StandardError::kErrors);
  EXPECT_EQ(Parse({"-r1"}).standard_error, StandardError::kAllMessages);
}

TEST_F(OptionsTest, RefusesWhatItDoesNotKnowInSqlcmdsWords) {
  EXPECT_EQ(Refusal({"-9"}), "Sqlcmd: '-9': Unknown Option. Enter '-?' for help.\n");
  EXPECT_EQ(Refusal({"--help"}), "Sqlcmd: '--': Unknown Option. Enter '-?' for help.\n");
  EXPECT_EQ(Refusal({"PRINT 1"}), "Sqlcmd: 'PRINT 1': Unexpected argument. Enter '-?' for help.\n");
  EXPECT_EQ(Refusal({"-Q"}), "Sqlcmd: '-Q': Missing argument. Enter '-?' for help.\n");
  EXPECT_THAT(Refusal({"-u"}), HasSubstr("'-u': Capstan does not support this option."));
  EXPECT_EQ(Refusal({"-w", "8"}),
            "Sqlcmd: '-w 8': value must be a number from 9 to 65535. Enter '-?' for help.\n");
  for (const char* const argument : {"-h-2", "-hx", "-y8001", "-Y-1", "-t1s", "-r2", "-V26", "-vx",
                                     "-v=1", "-i", "-l65535", "-s\xFF"}) {
    EXPECT_THAT(Refusal({argument}), StartsWith("Sqlcmd: '-")) << argument;
  }
}

TEST_F(OptionsTest, RefusesSwitchesThatExcludeOneAnother) {
  EXPECT_EQ(Refusal({"-Q", "x", "-i", "y"}),
            "Sqlcmd: The -i and the -Q/-q options are mutually exclusive.\n");
  EXPECT_EQ(Refusal({"-E", "-U", "x"}),
            "Sqlcmd: The -E and the -U/-P options are mutually exclusive.\n");
  EXPECT_EQ(Refusal({"-W", "-y", "3"}),
            "Sqlcmd: The -W and -y/-Y options are mutually exclusive.\n");
}

TEST_F(OptionsTest, VersionIsToldAsOurOtherProgramsTellIt) {
  const auto parsed = ParseOptions({"--version"}, environment());
  ASSERT_TRUE(std::holds_alternative<Answer>(parsed));
  EXPECT_EQ(std::get<Answer>(parsed).exit_status, kExitDone);
  EXPECT_TRUE(std::get<Answer>(parsed).text.starts_with("sqlcmd of Capstan "));
}

TEST_F(OptionsTest, HelpIsNotAnError) {
  const auto parsed = ParseOptions({"-?"}, environment());

  ASSERT_TRUE(std::holds_alternative<Answer>(parsed));
  EXPECT_EQ(std::get<Answer>(parsed).exit_status, kExitDone);
  EXPECT_THAT(std::get<Answer>(parsed).text, HasSubstr("usage: sqlcmd"));
}

TEST_F(OptionsTest, TheLocalServerHasManyNames) {
  for (const char* const name :
       {"", ".", "(local)", "(LOCAL)", "localhost", "tcp:.", "lpc:localhost"}) {
    EXPECT_EQ(ServerEndpoint(name, environment())->written, cli::kDefaultServer) << name;
  }
  variables_["CAPSTAN_SERVER"] = "unix:/x.sock";
  EXPECT_EQ(ServerEndpoint(".", environment())->unix_path, "/x.sock");
  EXPECT_EQ(ServerEndpoint("unix:/y.sock", environment())->unix_path, "/y.sock");
  EXPECT_EQ(ServerEndpoint("/y.sock", environment())->unix_path, "/y.sock");
  EXPECT_EQ(ServerEndpoint("tcp:db1,7100", environment())->grpc_target, "dns:///db1:7100");
}

TEST_F(OptionsTest, RefusesNamedInstancesAndHostsWithoutAPort) {
  EXPECT_THAT(ServerEndpoint(".\\SQLEXPRESS", environment()), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(ServerEndpoint("HOST\\X", environment()), MessageHas("no named instance 'X'"));
  EXPECT_THAT(ServerEndpoint("db1", environment()), HasCode(Code::kInvalidArgument));
  EXPECT_EQ(Refusal({"-S", ".\\X"}).find("Sqlcmd: Error: Capstan client : there is no named"), 0u);
}

}  // namespace
}  // namespace capstan::sqlcmd
