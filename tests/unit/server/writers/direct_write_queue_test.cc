#include "server/writers/direct_write_queue.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
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

// Into one file, mostly.
class DirectWriteQueueTest : public testing::TestWithParam<std::string> {
 protected:
  Status Write(std::uint64_t offset, std::span<const std::byte> source) {
    return queue_.Write(file_, offset, source);
  }

  test::TemporaryDirectory directory_{GetParam()};
  const std::string path_ = directory_.path() + "/file";
  const UniqueFd fd_{::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  const std::shared_ptr<const FilledFile> file_ =
      std::make_shared<const FilledFile>(fd_.get(), path_);
  DirectWriteQueue queue_{
      [](const FilledFile& file, const Status& why) { return Annotate(why, file.path()); }};
};

// Pieces as a restore writes them: any order, several threads, odd addresses; some of them not
// whole pages, some larger than a buffer of the writer.
TEST_P(DirectWriteQueueTest, PutsEveryPieceInItsPlace) {
  const std::vector<std::byte> content = Pattern((5 << 20) + 1234);
  const std::vector<std::size_t> cuts = {0,       4096,    12288,           12800,
                                         1044480, 2088960, (4 << 20) + 512, content.size()};
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      threads.emplace_back([&, i] {
        const auto piece = std::span(content).subspan(cuts[i], cuts[i + 1] - cuts[i]);
        EXPECT_THAT(Write(cuts[i], piece), IsOk());
      });
    }
  }

  EXPECT_THAT(queue_.Drain(), IsOk());
  EXPECT_EQ(ContentOf(path_), content);
}

// Neighbours share memory pages of the file, and none of them may lose its half.
TEST_P(DirectWriteQueueTest, FillsFileFromPiecesThatSharePages) {
  const std::vector<std::byte> content = Pattern(3'000'001);
  constexpr std::size_t kPiece = 66'048;

  for (std::size_t at = content.size() / kPiece * kPiece;; at -= kPiece) {
    const std::size_t size = std::min(kPiece, content.size() - at);
    EXPECT_THAT(Write(at, std::span(content).subspan(at, size)), IsOk());
    if (at == 0) {
      break;
    }
  }

  EXPECT_THAT(queue_.Drain(), IsOk());
  EXPECT_EQ(ContentOf(path_), content);
}

TEST_P(DirectWriteQueueTest, LeavesNoWholePageInThePageCache) {
  const std::vector<std::byte> content = Pattern(4 << 20);
  struct statfs system {};
  ASSERT_EQ(::fstatfs(fd_.get(), &system), 0);
  if (!file_->direct() || system.f_type == TMPFS_MAGIC) {
    GTEST_SKIP() << "nothing goes past the page cache here";
  }

  EXPECT_THAT(Write(0, content), IsOk());
  EXPECT_THAT(queue_.Drain(), IsOk());

  void* const mapped = ::mmap(nullptr, content.size(), PROT_READ, MAP_SHARED, fd_.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  std::vector<unsigned char> resident(content.size() / 4096);
  ASSERT_EQ(::mincore(mapped, content.size(), resident.data()), 0);
  ::munmap(mapped, content.size());
  EXPECT_EQ(std::ranges::count_if(resident, [](unsigned char r) { return (r & 1) != 0; }), 0);
}

// Each file is open as long as something of it is to be written, and no longer.
TEST_P(DirectWriteQueueTest, FillsManyFilesAtOnce) {
  constexpr std::size_t kFiles = 20;
  const std::vector<std::byte> content = Pattern(300'000);
  std::vector<std::weak_ptr<const FilledFile>> files;
  for (std::size_t i = 0; i < kFiles; ++i) {
    const std::string path = path_ + std::to_string(i);
    const auto file = std::make_shared<const FilledFile>(
        UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)), path);
    files.push_back(file);
    EXPECT_THAT(queue_.Write(file, 0, std::span(content).subspan(i)), IsOk());
  }

  EXPECT_THAT(queue_.Drain(), IsOk());
  for (std::size_t i = 0; i < kFiles; ++i) {
    EXPECT_TRUE(files[i].expired());
    EXPECT_TRUE(
        std::ranges::equal(ContentOf(path_ + std::to_string(i)), std::span(content).subspan(i)));
  }
}

// The write fails on a thread of the queue, when Write may have returned already.
TEST_P(DirectWriteQueueTest, KeepsTheFirstErrorForEveryLaterCall) {
  ::signal(SIGXFSZ, SIG_IGN);
  const std::vector<std::byte> content = Pattern(1 << 20);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limited{1 << 20, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);

  [[maybe_unused]] const Status either = Write(8 << 20, content);
  const Status drained = queue_.Drain();
  const Status later = Write(0, content);
  ::setrlimit(RLIMIT_FSIZE, &before);

  EXPECT_EQ(drained.os_error(), EFBIG);
  EXPECT_EQ(later.os_error(), EFBIG);
}

TEST_P(DirectWriteQueueTest, SaysWhyItCannotWrite) {
  const auto read_only = std::make_shared<const FilledFile>(
      UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), "/nosuch");

  EXPECT_FALSE(read_only->direct());
  const Status failed = queue_.Write(read_only, 0, Pattern(4096));
  EXPECT_EQ(failed.os_error(), EBADF);
  EXPECT_THAT(failed.message(), testing::HasSubstr("/nosuch"));
}

INSTANTIATE_TEST_SUITE_P(DiskAndMemory, DirectWriteQueueTest, testing::Values("/tmp", "/dev/shm"));

}  // namespace
}  // namespace capstan::writers
