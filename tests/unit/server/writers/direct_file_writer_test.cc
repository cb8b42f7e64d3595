#include "server/writers/direct_file_writer.h"

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

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

  EXPECT_EQ(ContentOf(path_), content);
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
