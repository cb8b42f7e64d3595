#include "server/writers/direct_file_writer.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using test::IsOk;

std::vector<std::byte> Pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::uint32_t state = 1;
  for (std::byte& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

std::vector<std::byte> ContentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

class DirectFileWriterTest : public testing::TestWithParam<std::string> {
 protected:
  test::TemporaryDirectory directory_{GetParam()};
  const std::string path_ = directory_.path() + "/file";
  const UniqueFd fd_{::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
};

// Pieces as a restore writes them: any order, several threads, odd addresses; some of them not
// whole pages, some larger than a buffer of the writer.
TEST_P(DirectFileWriterTest, PutsEveryPieceInItsPlace) {
  const std::vector<std::byte> content = Pattern((5 << 20) + 1234);
  const std::vector<std::size_t> cuts = {0,       4096,    12288,           12800,
                                         1044480, 2088960, (4 << 20) + 512, content.size()};
  DirectFileWriter writer(fd_.get(), path_);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      threads.emplace_back([&, i] {
        const auto piece = std::span(content).subspan(cuts[i], cuts[i + 1] - cuts[i]);
        EXPECT_THAT(writer.Write(cuts[i], piece), IsOk());
      });
    }
  }

  EXPECT_THAT(writer.Drain(), IsOk());
  EXPECT_EQ(ContentOf(path_), content);
}

// Neighbours share memory pages of the file, and none of them may lose its half.
TEST_P(DirectFileWriterTest, FillsFileFromPiecesThatSharePages) {
  const std::vector<std::byte> content = Pattern(3'000'001);
  constexpr std::size_t kPiece = 66'048;
  DirectFileWriter writer(fd_.get(), path_);

  for (std::size_t at = content.size() / kPiece * kPiece;; at -= kPiece) {
    const std::size_t size = std::min(kPiece, content.size() - at);
    EXPECT_THAT(writer.Write(at, std::span(content).subspan(at, size)), IsOk());
    if (at == 0) {
      break;
    }
  }

  EXPECT_THAT(writer.Drain(), IsOk());
  EXPECT_EQ(ContentOf(path_), content);
}

TEST_P(DirectFileWriterTest, LeavesNoWholePageInThePageCache) {
  const std::vector<std::byte> content = Pattern(4 << 20);
  DirectFileWriter writer(fd_.get(), path_);
  struct statfs system {};
  ASSERT_EQ(::fstatfs(fd_.get(), &system), 0);
  if (!writer.direct() || system.f_type == TMPFS_MAGIC) {
    GTEST_SKIP() << "nothing goes past the page cache here";
  }

  EXPECT_THAT(writer.Write(0, content), IsOk());
  EXPECT_THAT(writer.Drain(), IsOk());

  void* const mapped = ::mmap(nullptr, content.size(), PROT_READ, MAP_SHARED, fd_.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  std::vector<unsigned char> resident(content.size() / 4096);
  ASSERT_EQ(::mincore(mapped, content.size(), resident.data()), 0);
  ::munmap(mapped, content.size());
  EXPECT_EQ(std::ranges::count_if(resident, [](unsigned char r) { return (r & 1) != 0; }), 0);
}

// The write fails on a thread of the writer, when Write may have returned already.
TEST_P(DirectFileWriterTest, KeepsTheFirstErrorForEveryLaterCall) {
  ::signal(SIGXFSZ, SIG_IGN);
  const std::vector<std::byte> content = Pattern(1 << 20);
  DirectFileWriter writer(fd_.get(), path_);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limited{1 << 20, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);

  [[maybe_unused]] const Status either = writer.Write(8 << 20, content);
  const Status drained = writer.Drain();
  const Status later = writer.Write(0, content);
  ::setrlimit(RLIMIT_FSIZE, &before);

  EXPECT_EQ(drained.os_error(), EFBIG);
  EXPECT_EQ(later.os_error(), EFBIG);
}

TEST_P(DirectFileWriterTest, SaysWhyItCannotWrite) {
  const UniqueFd read_only(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  DirectFileWriter writer(read_only.get(), directory_.path() + "/nosuch");

  EXPECT_FALSE(writer.direct());
  EXPECT_EQ(writer.Write(0, Pattern(4096)).os_error(), EBADF);
}

INSTANTIATE_TEST_SUITE_P(DiskAndMemory, DirectFileWriterTest, testing::Values("/tmp", "/dev/shm"));

}  // namespace
}  // namespace capstan::writers
