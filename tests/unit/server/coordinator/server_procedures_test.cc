#include "server/coordinator/server_procedures.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::coordinator {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;
using testing::AllOf;

class CreateFolderTest : public testing::Test {
 protected:
  DriveMap Drives() const { return DriveMap::Create({{"e:", directory_.path()}}).value(); }

  test::TemporaryDirectory directory_;
};

// S0-35
TEST_F(CreateFolderTest, MakesAFolderAndThoseAboveIt) {
  EXPECT_THAT(CreateFolder(Drives(), R"(E:\a\b)"), IsOk());
  EXPECT_TRUE(std::filesystem::is_directory(directory_.Under("a/b")));
  EXPECT_THAT(CreateFolder(Drives(), directory_.Under("a/b")), IsOk());  // it is there
}

TEST_F(CreateFolderTest, ReportsTheOperatingSystemsError) {
  EXPECT_THAT(CreateFolder(Drives(), R"(F:\a)"),
              AllOf(HasReason(22048), MessageHas("xp_create_subdir() returned error 3, 'The system "
                                                 "cannot find the path specified.'")));
  std::fclose(std::fopen(directory_.Under("file").c_str(), "w"));
  EXPECT_THAT(CreateFolder(Drives(), directory_.Under("file/x")),
              AllOf(HasReason(22048), MessageHas("returned error 20, 'Not a directory'")));
  EXPECT_THAT(CreateFolder(Drives(), "relative"), HasReason(22048));
}

media::BackupSet SetOf(std::uint64_t bytes) {
  media::BackupSet set;
  set.database_name = "sales";
  set.files = {{.logical_name = "sales", .size_bytes = bytes}};
  return set;
}

TEST_F(CreateFolderTest, RoomIsCheckedWhereFilesAreToGo) {
  EXPECT_THAT(CheckRoom(Drives(), SetOf(4096), {{"sales", R"(E:\s.db)"}}), IsOk());
  EXPECT_THAT(CheckRoom(Drives(), SetOf(UINT64_MAX / 2), {{"sales", R"(E:\s.db)"}}),
              AllOf(HasReason(3257), MessageHas(directory_.path())));
  EXPECT_THAT(CheckRoom(Drives(), SetOf(1), {{"other", R"(E:\s.db)"}}), HasReason(3234));
  EXPECT_THAT(CheckRoom(Drives(), SetOf(1), {{"sales", "/no/such/folder/s.db"}}), HasReason(3156));
  EXPECT_THAT(CheckRoom(Drives(), SetOf(1), {{"sales", R"(F:\s.db)"}}), HasReason(3156));
}

// S0-55
TEST(SpaceUsed, ReservesWhatAFullBackupStores) {
  writers::DatabaseDescription description;
  description.files = {{.size_bytes = 3 << 20}, {.size_bytes = 1536}};

  const auto [sizes, use] = SpaceUsedTables("sales", description);

  EXPECT_EQ(sizes.rows[0][0], "sales");
  EXPECT_EQ(sizes.rows[0][1], "3.00 MB");
  EXPECT_EQ(use.rows[0][0], "3074 KB");
}

}  // namespace
}  // namespace capstan::coordinator
