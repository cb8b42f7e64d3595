#include "server/writers/released_files.h"

#include <optional>
#include <string>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

class ReleasedFilesTest : public testing::Test {
 protected:
  bool IsLocked() const {
    struct flock wanted {};
    wanted.l_type = F_WRLCK;
    const pid_t child = ::fork();
    if (child == 0) {
      const int other = ::open(path_.c_str(), O_RDWR);
      ::_exit(other >= 0 && ::fcntl(other, F_SETLK, &wanted) == 0 ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status != 0;
  }

  test::TemporaryDirectory directory_;
  const std::string path_ = directory_.Under("file");
  UniqueFd fd_{::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
};

// Descriptors of this process that lead to the (nameless) file.
int CountDescriptorsOf(ino_t inode) {
  int count = 0;
  for (int fd = 0; fd < 256; ++fd) {
    struct stat info {};
    count += ::fstat(fd, &info) == 0 && info.st_ino == inode ? 1 : 0;
  }
  return count;
}

TEST_F(ReleasedFilesTest, KeepsTheFileUntilItIsLetGo) {
  struct stat info {};
  ASSERT_EQ(::fstat(fd_.get(), &info), 0);
  std::optional<ReleasedFiles> files(std::in_place);
  UniqueFd hold = ReleasedFiles::Hold(fd_.get());
  ASSERT_TRUE(hold.valid());
  ::unlink(path_.c_str());
  fd_.Reset();
  EXPECT_EQ(CountDescriptorsOf(info.st_ino), 1);

  files->LetGo(std::move(hold));
  files.reset();

  EXPECT_EQ(CountDescriptorsOf(info.st_ino), 0);
}

// As a close of any other descriptor of the file would.
TEST_F(ReleasedFilesTest, DropsNoLockOfThisProcess) {
  struct flock all {};
  all.l_type = F_WRLCK;
  ASSERT_EQ(::fcntl(fd_.get(), F_SETLK, &all), 0);
  std::optional<ReleasedFiles> files(std::in_place);

  files->LetGo(ReleasedFiles::Hold(fd_.get()));
  files.reset();

  EXPECT_TRUE(IsLocked());
}

TEST_F(ReleasedFilesTest, HoldsNothingOfWhatIsNotOpen) {
  EXPECT_FALSE(ReleasedFiles::Hold(-1).valid());
  ReleasedFiles().LetGo(UniqueFd());
}

}  // namespace
}  // namespace capstan::writers
