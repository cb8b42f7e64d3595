#include "tools/client/credentials.h"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::cli {
namespace {

using test::HasCode;
using test::IsOk;

TEST(ReadPasswordFile, TakesTheFirstLineAsItIs) {
  const test::TemporaryDirectory directory;
  const std::string path = directory.Under("password");
  std::ofstream(path) << " two words \r\nsecond line\n";

  const Result<std::string> password = ReadPasswordFile(path);

  ASSERT_THAT(password, IsOk());
  EXPECT_EQ(*password, " two words ");
}

TEST(ReadPasswordFile, NeedsAFileThatHoldsSomething) {
  const test::TemporaryDirectory directory;
  std::ofstream(directory.Under("empty")) << "\n";

  EXPECT_THAT(ReadPasswordFile(directory.Under("none")), HasCode(Code::kNotFound));
  EXPECT_THAT(ReadPasswordFile(directory.Under("empty")), HasCode(Code::kInvalidArgument));
  EXPECT_FALSE(ReadPasswordFile(directory.path()).ok());  // a directory
}

TEST(EnvironmentValue, TellsEmptyFromAbsent) {
  ::setenv("CAPSTAN_TEST_VALUE", "", 1);
  EXPECT_EQ(EnvironmentValue("CAPSTAN_TEST_VALUE"), "");
  ::unsetenv("CAPSTAN_TEST_VALUE");
  EXPECT_EQ(EnvironmentValue("CAPSTAN_TEST_VALUE"), std::nullopt);
}

TEST(SystemUserName, IsNeverEmpty) {
  EXPECT_FALSE(SystemUserName().empty());
}

}  // namespace
}  // namespace capstan::cli
