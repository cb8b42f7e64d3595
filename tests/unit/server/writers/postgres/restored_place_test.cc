#include "server/writers/postgres/restored_place.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using test::IsOk;

constexpr std::size_t kPart = 300 << 10;  // more than goes through the page cache

std::vector<std::byte> Pattern(std::size_t size, std::uint32_t state) {
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

class RestoredPlaceTest : public testing::Test {
 protected:
  RestoredPlace Open() { return test::Must(RestoredPlace::Open(root_, owner_, &queue_)); }

  static BundlePart PartOf(const std::string& path, std::uint64_t offset,
                           std::span<const std::byte> bytes) {
    return {.entry = {.path = path, .offset = offset, .length = bytes.size()}, .bytes = bytes};
  }

  std::vector<std::byte> ContentOf(const std::string& path) const {
    std::ifstream file(root_ + "/" + path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
  }

  test::TemporaryDirectory directory_;
  const std::string root_ = directory_.Under("data");
  const FileOwner owner_{.user = ::geteuid(), .group = ::getegid()};
  DirectWriteQueue queue_{&RestoredPlace::ExplainUnwritable};
};

// Parts come in any order; a file has its size when it is finished, whatever it grew to.
TEST_F(RestoredPlaceTest, FillsAnEmptyPlace) {
  const std::vector<std::byte> content = Pattern(10 * kPart + 1234, 1);
  RestoredPlace place = Open();
  for (std::size_t at = content.size() / kPart * kPart;; at -= kPart) {
    const auto part = std::span(content).subspan(at, std::min(kPart, content.size() - at));
    ASSERT_THAT(place.Write(PartOf("base/5/16384", at, part)), IsOk());
    if (at == 0) {
      break;
    }
  }
  ASSERT_THAT(place.Write(PartOf("base/5/empty", 0, {})), IsOk());
  const BundlePart zeros{
      .entry = {.kind = BundleEntry::Kind::kZeros, .path = "base/5/zeros", .length = kPart}};
  ASSERT_THAT(place.Write(zeros), IsOk());

  ASSERT_THAT(queue_.Drain(), IsOk());
  ASSERT_THAT(place.Finish("base/5/16384", content.size(), 0600), IsOk());
  ASSERT_THAT(place.Finish("base/5/zeros", kPart, 0600), IsOk());
  EXPECT_EQ(ContentOf("base/5/16384"), content);
  EXPECT_EQ(ContentOf("base/5/empty").size(), 0U);
  EXPECT_EQ(ContentOf("base/5/zeros"), std::vector<std::byte>(kPart));
  EXPECT_EQ(place.written_bytes(), content.size());
  EXPECT_EQ(place.taken_bytes(), content.size() + kPart);
}

TEST_F(RestoredPlaceTest, WritesOfAPlaceThatWasNotEmptyWhatDiffers) {
  std::vector<std::byte> content = Pattern(4 * kPart, 1);
  RestoredPlace first = Open();
  ASSERT_THAT(first.Write(PartOf("base/5/16384", 0, content)), IsOk());
  ASSERT_THAT(queue_.Drain(), IsOk());
  ASSERT_THAT(first.Finish("base/5/16384", content.size(), 0600), IsOk());
  content[2 * kPart] ^= std::byte{1};

  RestoredPlace again = Open();
  ASSERT_THAT(again.Write(PartOf("base/5/16384", 0, content)), IsOk());

  EXPECT_EQ(ContentOf("base/5/16384"), content);
  EXPECT_GT(again.written_bytes(), 0U);
  EXPECT_LE(again.written_bytes(), 64U << 10);
}

// The write may fail after Write has returned; the error names the file all the same.
TEST_F(RestoredPlaceTest, NamesTheFileThatCannotBeWritten) {
  ::signal(SIGXFSZ, SIG_IGN);
  const std::vector<std::byte> content = Pattern(kPart, 1);
  RestoredPlace place = Open();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limited{1 << 20, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);

  Status failed = place.Write(PartOf("base/5/large", 8 << 20, content));
  failed = failed.ok() ? queue_.Drain() : failed;
  const Status small = place.Write(PartOf("base/5/small", 8 << 20, std::span(content).first(100)));
  ::setrlimit(RLIMIT_FSIZE, &before);

  EXPECT_EQ(failed.os_error(), EFBIG);
  EXPECT_THAT(failed.message(), testing::HasSubstr("base/5/large"));
  EXPECT_EQ(small.os_error(), EFBIG);
  EXPECT_THAT(small.message(), testing::HasSubstr("base/5/small"));
}

TEST_F(RestoredPlaceTest, LeavesItsFolderByNoLink) {
  RestoredPlace place = Open();
  const std::string outside = directory_.Under("outside");
  std::filesystem::create_directory(outside);
  std::filesystem::create_symlink(outside, root_ + "/base");

  const std::vector<std::byte> content = Pattern(kPart, 1);
  EXPECT_FALSE(place.Write(PartOf("base/16384", 0, content)).ok());

  EXPECT_TRUE(std::filesystem::is_empty(outside));
}

}  // namespace
}  // namespace capstan::writers
