// capstan tape library: works on a folder, without any server.
#include <algorithm>
#include <filesystem>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/tools/capstan_process.h"
#include "tests/support/temporary_directory.h"

namespace capstan::test {
namespace {

using testing::HasSubstr;

class CapstanTape : public testing::Test {
 protected:
  ProcessResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"tape", "library"});
    // Neither a server nor a password is looked for.
    ProcessResult result =
        RunCapstan(std::move(arguments),
                   {.environment = {{"CAPSTAN_SERVER", "unix:/none"}, {"CAPSTAN_USER", "nobody"}}});
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_TRUE(line.size() <= 80 || line.starts_with("  {\"")) << line;
    }
    return result;
  }

  std::string Out(std::vector<std::string> arguments) {
    const ProcessResult result = Run(std::move(arguments));
    EXPECT_EQ(result.exit_status, 0) << result.error;
    return result.out;
  }

  TemporaryDirectory directory_{"/tmp"};
  const std::string library_ = directory_.Under("l");
};

TEST_F(CapstanTape, LibraryIsMadeUsedAndShown) {
  EXPECT_THAT(Out({"create", library_, "--drives", "2", "--slots", "4", "--capacity", "1G",
                   "--worm", "1", "--cleaning", "1", "--time-model"}),
              HasSubstr("2 LTO-8 drives, 4 slots, 4 cartridges of 1.0 GiB"));

  EXPECT_EQ(Out({"load", library_, "CAP001L8", "1"}),
            "Cartridge 'CAP001L8' is loaded in drive 1.\n");
  EXPECT_THAT(Out({"load", library_, "CLN001L1", "0"}), HasSubstr("is good for 49 more"));
  EXPECT_EQ(Out({"show", library_}),
            "element cartridge used capacity state\n"
            "------- --------- ---- -------- -----------\n"
            "drive 0                         empty\n"
            "drive 1 CAP001L8   0 B  1.0 GiB loaded\n"
            "port 1                          empty\n"
            "slot 1                          empty\n"
            "slot 2  CAP002L8   0 B  1.0 GiB blank\n"
            "slot 3  WRM001LY   0 B  1.0 GiB blank\n"
            "slot 4  CLN001L1   0 B      0 B good for 49\n");
  EXPECT_THAT(Out({"show", library_, "--json"}),
              HasSubstr("{\"element\": \"drive 1\", \"address\": 257, \"state\": \"loaded\", "
                        "\"process\": null, \"barcode\": \"CAP001L8\", \"source\": \"slot 1\""));
  EXPECT_EQ(Out({"unload", library_, "1"}), "The cartridge of drive 1 is in slot 1 now.\n");
  EXPECT_EQ(Out({"eject", library_, "CAP001L8"}), "Cartridge 'CAP001L8' is in a port now.\n");
  Out({"eject", library_, "CAP001L8", "--out"});
  EXPECT_THAT(Out({"list", library_}), HasSubstr("CAP001L8  data     LTO-8      outside"));
  Out({"import", library_, "CAP001L8"});
  EXPECT_THAT(Out({"list", library_, "--json"}),
              HasSubstr("\"barcode\": \"CAP001L8\", \"kind\": \"data\", \"generation\": "
                        "\"LTO-8\", \"place\": \"slot 1\""));
  Out({"eject", library_, "WRM001LY", "--out"});
  Out({"import", library_, "--new", "BIG001L7", "--capacity", "2G"});
  EXPECT_THAT(Out({"list", library_}), HasSubstr("BIG001L7  data     LTO-7      slot 3"));
  Out({"erase", library_, "BIG001L7", "--yes"});
  EXPECT_TRUE(std::filesystem::exists(library_ + "/cartridges/BIG001L7.tap"));
}

TEST_F(CapstanTape, FailuresSayWhatToDo) {
  Out({"create", library_, "--slots", "2", "--cartridges", "1"});
  struct Case {
    std::vector<std::string> arguments;
    int exit_status;
    const char* says;
  };
  for (const Case& one : std::initializer_list<Case>{
           {{"create", library_}, 1, "is not empty\nHINT: a tape library needs"},
           {{"create", library_ + "2", "--worm", "99"}, 2, "do not fit in 8 slots\nHINT: --slots"},
           {{"create", library_ + "2", "--generation", "X"}, 1, "HINT: generations are LTO-1"},
           {{"create", library_ + "2", "--capacity", "x"}, 2, "capstan: "},
           {{"show", "/none"}, 1, "HINT: 'capstan tape library create' makes one"},
           {{"load", library_, "CAP009L8", "0"}, 1, "'capstan tape library list' shows"},
           {{"load", library_, "CAP001L8", "7"}, 1, "HINT: its drives are 0 to 1"},
           {{"unload", library_, "0"}, 1, "there is no cartridge in drive 0"},
           {{"erase", library_, "CAP001L8"}, 1, "HINT: --yes erases without asking"},
           {{"import", library_, "/NONE.tap"}, 1, "unable to copy '/NONE.tap': No such file"},
           {{"import", library_}, 2, "needs an image, a barcode, or --new"},
           {{"import", library_, "--new", "a b"}, 1, "HINT: a barcode is"},
           {{"fly", library_}, 2, "'fly' is no command of 'library'"},
       }) {
    SCOPED_TRACE(one.arguments.front() + ": " + one.says);
    const ProcessResult result = Run(one.arguments);
    EXPECT_EQ(result.exit_status, one.exit_status);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.error, HasSubstr(one.says));
  }
}

}  // namespace
}  // namespace capstan::test
