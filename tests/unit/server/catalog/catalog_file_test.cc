// The file itself: opening, locking, damage, a full disk.
#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/server/catalog/catalog_test.h"

namespace capstan::catalog {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;
using test::RecordBackup;
using test::SampleHeader;
using test::SampleSet;
using testing::AllOf;
using testing::HasSubstr;

class CatalogFile : public CatalogTest {
 protected:
  void Overwrite(std::streamoff offset, const std::string& bytes) {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset);
    file << bytes;
  }
};

TEST_F(CatalogFile, IsReadableForItsOwnerOnly) {
  struct stat info {};
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
    ASSERT_EQ(::stat((path() + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << suffix;
  }
}

TEST_F(CatalogFile, IsOpenedOnceOnlyAndNamesTheHolder) {
  const auto second = Catalog::Open(path());

  EXPECT_THAT(second, AllOf(HasCode(Code::kFailedPrecondition), MessageHas(path()),
                            MessageHas("in use by process " + std::to_string(::getpid()))));
  EXPECT_FALSE(second.status().hint().empty());
  EXPECT_THAT(catalog_->ListDatabases(), IsOk());
}

TEST_F(CatalogFile, CanBeOpenedAgainOnceClosed) {
  catalog_.reset();

  EXPECT_THAT(Catalog::Open(path()), IsOk());
}

TEST_F(CatalogFile, ReportsAMissingDirectory) {
  const auto opened = Catalog::Open(directory_.Under("no/such/catalog.db"));

  EXPECT_THAT(opened, AllOf(HasCode(Code::kNotFound), MessageHas("no/such")));
  EXPECT_THAT(std::string(opened.status().hint()), HasSubstr("directory"));
}

TEST_F(CatalogFile, ReportsAPathThatIsADirectory) {
  ASSERT_TRUE(std::filesystem::create_directory(directory_.Under("d")));

  EXPECT_FALSE(Catalog::Open(directory_.Under("d")).ok());
}

TEST_F(CatalogFile, RefusesAFileThatIsNoDatabase) {
  catalog_.reset();
  std::ofstream(path(), std::ios::trunc) << std::string(8192, 'x');

  const auto opened = Catalog::Open(path());

  EXPECT_THAT(opened, AllOf(HasCode(Code::kDataLoss), MessageHas(path()), MessageHas("damaged")));
  EXPECT_THAT(std::string(opened.status().hint()), HasSubstr("media are not affected"));
}

TEST_F(CatalogFile, RefusesADamagedPage) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());
  catalog_.reset();  // the last connection moves the log into the file
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(path()));
  for (std::streamoff page = 4096; page < size; page += 4096) {
    Overwrite(page, std::string(64, '\xA5'));
  }

  EXPECT_THAT(Catalog::Open(path()), AllOf(HasCode(Code::kDataLoss), MessageHas(path())));
}

TEST_F(CatalogFile, RefusesATruncatedFile) {
  ASSERT_THAT(RecordBackup(*catalog_, SampleHeader(), SampleSet()), IsOk());
  catalog_.reset();
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) / 2);

  EXPECT_THAT(Catalog::Open(path()), HasCode(Code::kDataLoss));
}

TEST_F(CatalogFile, RefusesTheCatalogOfANewerVersion) {
  catalog_.reset();
  auto connection = Connection::Open(path(), Connection::Mode::kReadWrite);
  ASSERT_THAT(connection, IsOk());
  ASSERT_THAT(connection->Execute("PRAGMA user_version = 99"), IsOk());

  EXPECT_THAT(Catalog::Open(path()),
              AllOf(HasCode(Code::kFailedPrecondition), MessageHas("schema version 99")));
}

// In a child, since the limit holds for the whole process. It stands for a full disk, except that
// the operating system's error is EFBIG and not ENOSPC.
TEST_F(CatalogFile, StaysUsableAfterAFullDisk) {
  catalog_.reset();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    Reopen();
    auto set = SampleSet();
    EXPECT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());
    const auto full = std::filesystem::file_size(path() + "-wal") + 4096;
    const rlimit limit{full, RLIM_INFINITY};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);

    set.backup_set_guid = Guid::Random();
    set.name.assign(60'000, 'n');  // larger than what is left
    const Status status = RecordBackup(*catalog_, SampleHeader(), set);

    EXPECT_THAT(status, AllOf(HasCode(Code::kResourceExhausted), MessageHas(path())));
    EXPECT_THAT(std::string(status.hint()), HasSubstr("free space"));
    EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "1");
    const rlimit lifted{RLIM_INFINITY, RLIM_INFINITY};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &lifted), 0);
    EXPECT_THAT(RecordBackup(*catalog_, SampleHeader(), set), IsOk());
    EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "2");
    catalog_.reset();
    ::_exit(HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);

  Reopen();
  EXPECT_EQ(Value("SELECT count(*) FROM msdb_dbo_backupset"), "2");
}

}  // namespace
}  // namespace capstan::catalog
