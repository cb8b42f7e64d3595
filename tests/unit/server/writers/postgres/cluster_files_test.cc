#include "server/writers/postgres/cluster_files.h"

#include <filesystem>
#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::IsOk;

class ClusterFilesTest : public testing::Test {
 protected:
  void Make(const std::string& path) {
    const std::filesystem::path whole = folder_.Under(path);
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << "x";
  }
  void MakeFolder(const std::string& path) {
    std::filesystem::create_directories(folder_.Under(path));
  }
  // All that is listed: folders end with "/".
  static std::set<std::string> Paths(const ClusterRoot& root) {
    const auto folders = ListClusterFolders(root);
    EXPECT_THAT(folders, IsOk());
    std::set<std::string> paths;
    for (const ClusterFolder& folder : *folders) {
      const std::string begin = folder.path.empty() ? "" : folder.path + "/";
      paths.insert(begin);
      for (const ClusterFile& file : folder.files) {
        paths.insert(begin + file.name);
      }
    }
    return paths;
  }

  test::TemporaryDirectory folder_;
};

TEST(RelationFile, IsReadFromItsName) {
  EXPECT_EQ(ParseRelationFile("1259"), (RelationFile{.number = 1259}));
  EXPECT_EQ(ParseRelationFile("16384_fsm.2"),
            (RelationFile{.number = 16384, .fork = RelationFork::kFreeSpaceMap, .segment = 2}));
  EXPECT_EQ(ParseRelationFile("16384_init"),
            (RelationFile{.number = 16384, .fork = RelationFork::kInit}));
  for (const char* name : {"", "pg_filenode.map", "PG_VERSION", "t3_16384", "16384_", "16384_x",
                           "16384.", "16384.x", "_fsm", "0", "99999999999", "1.0"}) {
    EXPECT_EQ(ParseRelationFile(name), std::nullopt) << name;
  }
}

TEST_F(ClusterFilesTest, AreAllButThoseOfNoUse) {
  const std::set<std::string> wanted = {"PG_VERSION",   "postgresql.conf", "base/5/PG_VERSION",
                                        "base/5/1259",  "base/5/1259.1",   "base/5/1259_vm",
                                        "global/1260",  "pg_xact/0000",    "base/5/16400_init",
                                        "log/today.log"};
  for (const std::string& path : wanted) {
    Make(path);
  }
  for (const char* path : {"postmaster.pid",
                           "postmaster.opts",
                           "current_logfiles",
                           "backup_label",
                           "tablespace_map",
                           "backup_manifest",
                           "standby.signal",
                           "recovery.signal",
                           "global/pg_control",
                           "global/pg_internal.init",
                           "base/5/pg_internal.init.99",
                           "base/5/t3_16390",
                           "base/5/t3_16390_fsm",
                           "base/5/16400",
                           "base/5/16400_fsm",
                           "base/5/16400.1",
                           "base/pgsql_tmp/pgsql_tmp1.0",
                           "pg_wal/000000010000000000000001",
                           "pg_wal/archive_status/000000010000000000000001.done",
                           "pg_replslot/a/state",
                           "pg_stat_tmp/x",
                           "pg_subtrans/0000",
                           "pg_notify/0000"}) {
    Make(path);
  }
  const std::set<std::string> folders = {"",
                                         "base/",
                                         "base/5/",
                                         "global/",
                                         "pg_xact/",
                                         "log/",
                                         "pg_wal/",
                                         "pg_replslot/",
                                         "pg_stat_tmp/",
                                         "pg_wal/archive_status/",
                                         "pg_subtrans/",
                                         "pg_notify/"};
  const auto root = OpenClusterRoot(folder_.path());
  ASSERT_THAT(root, IsOk());

  std::set<std::string> all = wanted;
  all.insert(folders.begin(), folders.end());
  EXPECT_EQ(Paths(*root), all);
}

TEST_F(ClusterFilesTest, OfATablespaceAreThoseOfItsVersion) {
  Make("PG_15_202209061/16385/16386");
  Make("PG_14_202107181/16385/16386");
  MakeFolder("PG_15_202209061/pgsql_tmp");
  auto root = OpenClusterRoot(folder_.path());
  ASSERT_THAT(root, IsOk());
  root->tablespace_oid = 16384;
  root->only_folder = "PG_15_202209061";

  EXPECT_EQ(Paths(*root), (std::set<std::string>{"", "PG_15_202209061/", "PG_15_202209061/16385/",
                                                 "PG_15_202209061/16385/16386"}));
  const auto folders = ListClusterFolders(*root);
  ASSERT_THAT(folders, IsOk());
  EXPECT_EQ(folders->back().relations_of, (PostgresDatabaseFolder{16384, 16385}));
}

TEST_F(ClusterFilesTest, OfAPlaceWithinThePlaceAreLeftToIt) {
  Make("base/5/1259");
  Make("spaces/fast/PG_15_202209061/5/1");
  Make("pg_tblspc/16384/PG_15_202209061/5/1");
  std::filesystem::create_directory_symlink("/", folder_.Under("elsewhere"));
  auto root = OpenClusterRoot(folder_.path());
  ASSERT_THAT(root, IsOk());
  root->not_folders = {"spaces/fast"};

  const std::set<std::string> paths = Paths(*root);

  EXPECT_TRUE(paths.contains("spaces/"));
  EXPECT_FALSE(paths.contains("spaces/fast/"));
  EXPECT_FALSE(paths.contains("elsewhere/"));
  EXPECT_TRUE(paths.contains("pg_tblspc/16384/PG_15_202209061/5/1"));
}

TEST_F(ClusterFilesTest, HaveAPlaceThatCanBeOpened) {
  const auto missing = OpenClusterRoot(folder_.Under("missing"));
  EXPECT_THAT(missing, HasCode(Code::kNotFound));
  EXPECT_NE(missing.status().hint().find("on the host of the cluster"), std::string_view::npos);
}

}  // namespace
}  // namespace capstan::writers
