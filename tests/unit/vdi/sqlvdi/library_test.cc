// The built library as a linker sees it: a program that was built elsewhere must load with it, and
// nothing of ours may get in a program's way.
#include <cstdio>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace capstan::sqlvdi {
namespace {

constexpr const char* kLibrary = SQLVDI_LIBRARY;
constexpr bool kSanitized = !std::string_view(SQLVDI_SANITIZER).empty();

// Standard output of a command, line by line.
std::multiset<std::string> LinesOf(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                             ::pclose);
  std::string text;
  char piece[4096];
  for (std::size_t size = 0; (size = std::fread(piece, 1, sizeof(piece), pipe.get())) > 0;) {
    text.append(piece, size);
  }
  std::multiset<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    lines.insert(line);
  }
  return lines;
}

// What stands in brackets in the lines of `readelf -d` with a tag.
std::multiset<std::string> DynamicEntries(const std::string& tag) {
  std::multiset<std::string> values;
  for (const std::string& line :
       LinesOf("LC_ALL=C readelf -dW '" + std::string(kLibrary) + "' | grep '(" + tag + ")'")) {
    const auto open = line.find('[');
    values.insert(line.substr(open + 1, line.find(']') - open - 1));
  }
  return values;
}

TEST(BuiltLibrary, ExportsTheClassicInterfaceAndNothingElse) {
  EXPECT_THAT(
      LinesOf("nm -D --defined-only --format=just-symbols '" + std::string(kLibrary) + "'"),
      testing::UnorderedElementsAre(
          "_ZN22ClientVirtualDeviceSetC1Ev", "_ZN22ClientVirtualDeviceSetC2Ev",
          "_ZN22ClientVirtualDeviceSetD1Ev", "_ZN22ClientVirtualDeviceSetD2Ev",
          "_ZN22ClientVirtualDeviceSet6CreateEPcP8VDConfig",
          "_ZN22ClientVirtualDeviceSet16GetConfigurationElP8VDConfig",
          "_ZN22ClientVirtualDeviceSet10OpenDeviceEPcPP19ClientVirtualDevice",
          "_ZN22ClientVirtualDeviceSet5CloseEv", "_ZN22ClientVirtualDeviceSet11SignalAbortEv",
          "_ZN22ClientVirtualDeviceSet15OpenInSecondaryEPc",
          "_ZN22ClientVirtualDeviceSet15GetBufferHandleEPhPj",
          "_ZN22ClientVirtualDeviceSet15MapBufferHandleEiPPh",
          "_ZN22ClientVirtualDeviceSet20RegisterDeviceClosedEv", "_ZN19ClientVirtualDeviceC1Ev",
          "_ZN19ClientVirtualDeviceC2Ev", "_ZN19ClientVirtualDeviceD1Ev",
          "_ZN19ClientVirtualDeviceD2Ev", "_ZN19ClientVirtualDevice10GetCommandElPP11VDC_Command",
          "_ZN19ClientVirtualDevice15CompleteCommandEP11VDC_Commandiml"));
}

TEST(BuiltLibrary, NeedsTheSystemsLibrariesOnly) {
  for (const std::string& needed : DynamicEntries("NEEDED")) {
    const bool allowed =
        std::set<std::string>{"libc.so.6",     "librt.so.1",     "libpthread.so.0",     "libm.so.6",
                              "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2"}
            .count(needed) > 0;
    // A build with sanitizers needs their runtimes.
    const bool sanitizer = needed.find("san.so") != std::string::npos;
    EXPECT_TRUE(allowed || (kSanitized && sanitizer)) << needed;
  }
}

TEST(BuiltLibrary, HasTheNameThatProgramsAskFor) {
  EXPECT_THAT(DynamicEntries("SONAME"), testing::UnorderedElementsAre("libsqlvdi.so"));
}

}  // namespace
}  // namespace capstan::sqlvdi
