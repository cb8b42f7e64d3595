// A third party reads our cartridges: mtdump of Debian's SIMH lists the records and filemarks of an
// image. What it cannot show: blocks over 65,536 bytes, which it does not know, and the second
// length of each record, at which it does not look.
#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "plugins/tape/emulator/emulated_library.h"
#include "tests/support/temporary_directory.h"

namespace capstan::tape {
namespace {

constexpr const char* kReader = "/usr/bin/mtdump";

std::string OutputOf(const std::string& command) {
  std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::string text;
  std::array<char, 4096> part = {};
  for (std::size_t size = 1; pipe != nullptr && size > 0;) {
    size = std::fread(part.data(), 1, part.size(), pipe);
    text.append(part.data(), size);
  }
  return pipe != nullptr && ::pclose(pipe) == 0 ? text : "failed: " + text;
}

TEST(TapeImage, OtherProgramsReadOurCartridges) {
  if (::access(kReader, X_OK) != 0) {
    GTEST_SKIP() << kReader << " is not installed; tools/setup installs it (package simh)";
  }
  const test::TemporaryDirectory directory;
  const std::string path = directory.Under("library");
  EmulatedLibrary library;
  ASSERT_FALSE(EmulatedLibrary::Create(path, {.capacity_bytes = 1U << 20U}, &library).failed());
  ASSERT_FALSE(library.AddBlank({.barcode = "CAP001L8"}).failed());
  std::string remark;
  ASSERT_FALSE(library.Load("CAP001L8", 0, &remark).failed());
  std::unique_ptr<TapeDrive> drive;
  ASSERT_FALSE(OpenEmulatedDrive(path, 0, &drive).failed());
  ASSERT_EQ(drive->TestReady().outcome, Outcome::kMediumChanged);
  const std::vector<std::byte> block(65'536, std::byte{0xA5});
  const auto write = [&](std::size_t size) {
    ASSERT_TRUE(drive->Write(std::span(block).first(size)).done());
  };
  write(65'536);
  write(1);
  ASSERT_TRUE(drive->WriteFilemarks(1).done());
  write(777);
  write(5'000);  // and is overwritten
  ASSERT_TRUE(drive->SpaceBlocks(-1).done());
  write(512);
  ASSERT_TRUE(drive->WriteFilemarks(2).done());
  ASSERT_TRUE(drive->Unload().done());

  const std::string listing = OutputOf(kReader + (" " + library.store().ImagePath("CAP001L8")));

  EXPECT_THAT(listing, testing::ContainsRegex("record 1, length = 65536 .*\n"
                                              ".*record 2, length = 1 .*\n"
                                              ".*end of tape file 1\n"
                                              ".*\n"
                                              ".*record 1, length = 777 .*\n"
                                              ".*record 2, length = 512 .*\n"
                                              ".*end of tape file 2\n"
                                              ".*end of logical tape"));
  EXPECT_THAT(listing, testing::Not(testing::ContainsRegex("Invalid|Error|terminating|5000")));
}

}  // namespace
}  // namespace capstan::tape
