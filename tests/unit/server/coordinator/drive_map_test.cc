#include "server/coordinator/drive_map.h"

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::coordinator {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

DriveMap Sample() {
  auto map = DriveMap::Create({{"e:", "/srv/e"},
                               {"M:\\", "/srv/m/"},
                               {"\\\\Server\\Share", "/mnt/share"},
                               {"\\\\server\\share\\deep", "/mnt/deep"}});
  EXPECT_THAT(map, IsOk());
  return map.ok() ? *map : DriveMap();
}

TEST(DriveMap, PutsDrivesAndSharesWhereTheyLie) {
  const DriveMap map = Sample();
  const std::pair<const char*, const char*> cases[] = {
      {R"(E:\testbackup.bak)", "/srv/e/testbackup.bak"},
      {R"(e:\Data\Sales.BAK)", "/srv/e/Data/Sales.BAK"},
      {R"(E:/a/b.bak)", "/srv/e/a/b.bak"},
      {R"(m:\x)", "/srv/m/x"},
      {R"(E:)", "/srv/e/"},
      {R"(\\server\share\x.bak)", "/mnt/share/x.bak"},
      {R"(\\SERVER\SHARE\a\x.bak)", "/mnt/share/a/x.bak"},
      {R"(\\server\share\deep\x.bak)", "/mnt/deep/x.bak"},
      {R"(\\server\share\deeper\x.bak)", "/mnt/share/deeper/x.bak"},
  };
  for (const auto& [said, place] : cases) {
    EXPECT_EQ(map.Map(said).value(), place) << said;
  }
}

TEST(DriveMap, LeavesWhatIsNoWindowsPathAlone) {
  for (const char* path : {"/srv/a.bak", "relative/a.bak", "E:a.bak", "", "e", R"(\\.\Tape0)",
                           R"(\\?\E:\x)", R"(\\server)", R"(/srv/E:\x)"}) {
    EXPECT_EQ(Sample().Map(path).value(), path);
  }
}

TEST(DriveMap, KeepsPathsWithinTheirDrive) {
  EXPECT_EQ(Sample().Map(R"(E:\..\..\etc\passwd)").value(), "/srv/e/etc/passwd");
  EXPECT_EQ(Sample().Map(R"(E:\a\..\b)").value(), "/srv/e/b");
}

TEST(DriveMap, SaysWhatIsNotMapped) {
  for (const char* path : {R"(F:\x.bak)", R"(\\other\share\x.bak)", R"(\\server\shared\x.bak)"}) {
    const auto mapped = Sample().Map(path);
    EXPECT_THAT(mapped, HasCode(Code::kNotFound)) << path;
    EXPECT_NE(mapped.status().hint().find("[drive_map]"), std::string_view::npos);
  }
  EXPECT_NE(DriveMap().Map(R"(F:\x.bak)").status().hint().find("\"f:\""), std::string_view::npos);
}

TEST(DriveMap, RefusesEntriesThatMakeNoSense) {
  for (const char* from : {"", "e", "ee:", "e:\\x", "/srv", "\\\\server", "\\\\.\\tape0", "1:"}) {
    EXPECT_THAT(DriveMap::Create({{from, "/srv"}}), HasCode(Code::kInvalidArgument)) << from;
  }
  EXPECT_THAT(DriveMap::Create({{"e:", "srv"}}), MessageHas("no absolute path"));
  EXPECT_THAT(DriveMap::Create({{"e:", "/a"}, {"E:", "/b"}}), MessageHas("mapped twice"));
}

}  // namespace
}  // namespace capstan::coordinator
