#include "server/writers/postgres/restored_place.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using test::HasReason;
using test::IsOk;

namespace fs = std::filesystem;

class RestoredPlaceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = RestoredPlace::Open(root_, {.user = ::geteuid(), .group = ::getegid()});
    ASSERT_THAT(opened, IsOk());
    place_.emplace(*std::move(opened));
  }
  static BundleEntry Entry(const std::string& path, std::uint64_t offset = 0) {
    return {.mode = 0600, .path = path, .offset = offset, .length = kBytes.size()};
  }
  static BundleEntry Zeros(const std::string& path, std::uint64_t offset, std::uint64_t length) {
    BundleEntry entry = Entry(path, offset);
    entry.kind = BundleEntry::Kind::kZeros;
    entry.length = length;
    return entry;
  }
  Status Write(const BundleEntry& entry) {
    const auto bytes = std::as_bytes(std::span(kBytes));
    return place_->Write({.entry = entry, .bytes = bytes.first(entry.payload_length())});
  }
  // Whether it is there, as it was written.
  bool IsThere(const BundleEntry& entry) {
    std::string found(entry.payload_length(), '?');
    const auto read = place_->ReadBack(entry, std::as_writable_bytes(std::span(found)));
    EXPECT_THAT(read, IsOk());
    return read.ok() && *read && found == kBytes.substr(0, found.size());
  }

  static inline const std::string kBytes = std::string(10'000, 'a') + std::string(10'000, 'b');
  test::TemporaryDirectory folder_;
  const std::string root_ = folder_.Under("place");
  std::optional<RestoredPlace> place_;
};

TEST_F(RestoredPlaceTest, ReadsBackWhatItWrote) {
  ASSERT_THAT(Write(Entry("base/5/1259", 8192)), IsOk());
  EXPECT_TRUE(IsThere(Entry("base/5/1259", 8192)));
  BundleEntry empty = Entry("base/5/empty");
  empty.length = 0;
  EXPECT_FALSE(IsThere(empty)) << "an empty file is there or not";
  ASSERT_THAT(Write(empty), IsOk());
  EXPECT_TRUE(IsThere(empty));
}

TEST_F(RestoredPlaceTest, ReadsBackZerosThatNobodyWrote) {
  const BundleEntry zeros = Zeros("zeros", 100'000, 300'000);
  EXPECT_FALSE(IsThere(zeros)) << "without the file";
  ASSERT_THAT(Write(zeros), IsOk());
  EXPECT_TRUE(IsThere(zeros)) << "behind its end";
  fs::resize_file(root_ + "/zeros", 399'999);
  EXPECT_TRUE(IsThere(zeros));
  ASSERT_THAT(Write(Entry("zeros", 380'001)), IsOk());
  EXPECT_FALSE(IsThere(zeros));
  ASSERT_THAT(Write(zeros), IsOk());
  EXPECT_TRUE(IsThere(zeros));
}

TEST_F(RestoredPlaceTest, DoesNotFindWhatIsNotAsItWas) {
  const std::string file = root_ + "/base/5/1259";
  EXPECT_FALSE(IsThere(Entry("base/5/1259")));
  const auto write = [&] { ASSERT_THAT(Write(Entry("base/5/1259")), IsOk()); };
  write();
  fs::resize_file(file, kBytes.size() - 1);
  EXPECT_FALSE(IsThere(Entry("base/5/1259"))) << "shorter";
  write();
  EXPECT_FALSE(IsThere(Entry("base/5/1259/1"))) << "below a file";
  fs::rename(file, folder_.Under("moved"));
  fs::create_symlink(folder_.Under("moved"), file);
  EXPECT_FALSE(IsThere(Entry("base/5/1259"))) << "a link";
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_FALSE(IsThere(Entry("base/5/1259"))) << "a folder";
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  EXPECT_FALSE(IsThere(Entry("base/5/1259"))) << "nothing waits for its other end";
}

TEST_F(RestoredPlaceTest, SaysWhatCannotBeReadBack) {
  const std::string long_name(300, 'n');
  EXPECT_THAT(place_->ReadBack(Entry(long_name), {}), HasReason(65006));
}

TEST_F(RestoredPlaceTest, SyncsWhatWasWrittenSince) {
  EXPECT_THAT(place_->Sync(), IsOk()) << "all of it";
  EXPECT_THAT(place_->Sync(), IsOk()) << "nothing";
  ASSERT_THAT(Write(Entry("base/5/1259")), IsOk());
  EXPECT_THAT(place_->Sync(), IsOk());
  fs::remove_all(root_ + "/base");
  EXPECT_THAT(place_->Sync(), IsOk()) << "is not asked for again";

  ASSERT_THAT(Write(Entry("base/5/1259")), IsOk());
  fs::remove_all(root_ + "/base");

  EXPECT_THAT(place_->Sync(), HasReason(65006)) << "what was written is not there to be synced";
  EXPECT_THAT(place_->Sync(), IsOk()) << "the whole file system";
}

// What is there already may never have been synced by who wrote it.
TEST_F(RestoredPlaceTest, SyncsWhatItFoundToBeThere) {
  ASSERT_THAT(Write(Entry("1259")), IsOk());
  EXPECT_THAT(place_->Sync(), IsOk());
  const std::uint64_t written = place_->written_bytes();
  ASSERT_THAT(Write(Entry("1259")), IsOk());
  ASSERT_EQ(place_->written_bytes(), written);
  fs::remove(root_ + "/1259");

  EXPECT_THAT(place_->Sync(), HasReason(65006));
}

TEST_F(RestoredPlaceTest, SyncsManyFilesAtOnce) {
  EXPECT_THAT(place_->Sync(), IsOk());
  for (int i = 0; i < 100; ++i) {
    ASSERT_THAT(Write(Entry(fmt::format("base/{}/1", i))), IsOk());
  }
  fs::remove_all(root_ + "/base/0");
  EXPECT_THAT(place_->Sync(), IsOk()) << "not one by one";
}

constexpr std::size_t kPart = 300 << 10;  // more than goes through the page cache

std::vector<std::byte> Pattern(std::size_t size, std::uint32_t state) {
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

// With a queue: large parts go past the page cache.
class FilledPlaceTest : public testing::Test {
 protected:
  RestoredPlace Open() { return RestoredPlace::Open(root_, owner_, &queue_).value(); }

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
TEST_F(FilledPlaceTest, FillsAnEmptyPlace) {
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

TEST_F(FilledPlaceTest, WithoutItWhatDiffersIsWritten) {
  std::vector<std::byte> content = Pattern(4 * kPart, 1);
  RestoredPlace first = Open();
  ASSERT_THAT(first.Write(PartOf("base/5/16384", 0, content)), IsOk());
  ASSERT_THAT(queue_.Drain(), IsOk());
  ASSERT_THAT(first.Finish("base/5/16384", content.size(), 0600), IsOk());
  content[2 * kPart] ^= std::byte{1};

  RestoredPlace again = RestoredPlace::Open(root_, owner_).value();
  ASSERT_THAT(again.Write(PartOf("base/5/16384", 0, content)), IsOk());

  EXPECT_EQ(ContentOf("base/5/16384"), content);
  EXPECT_GT(again.written_bytes(), 0U);
  EXPECT_LE(again.written_bytes(), 64U << 10);
}

// The write may fail after Write has returned; the error names the file all the same.
TEST_F(FilledPlaceTest, NamesTheFileThatCannotBeWritten) {
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

TEST_F(FilledPlaceTest, LeavesItsFolderByNoLink) {
  RestoredPlace place = Open();
  const std::string outside = directory_.Under("outside");
  fs::create_directory(outside);
  fs::create_symlink(outside, root_ + "/base");

  const std::vector<std::byte> content = Pattern(kPart, 1);
  EXPECT_FALSE(place.Write(PartOf("base/16384", 0, content)).ok());

  EXPECT_TRUE(fs::is_empty(outside));
}

// What is in the queue when a checkpoint begins is in the file when that says so.
TEST_F(FilledPlaceTest, SyncsWhatIsInTheQueue) {
  const std::vector<std::byte> content = Pattern(8 * kPart, 1);
  RestoredPlace place = Open();
  ASSERT_THAT(place.Sync(), IsOk());
  ASSERT_THAT(place.Write(PartOf("16384", 0, content)), IsOk());

  ASSERT_THAT(place.Sync(), IsOk());

  std::vector<std::byte> found(content.size());
  const auto there = place.ReadBack(PartOf("16384", 0, content).entry, found);
  ASSERT_THAT(there, IsOk());
  EXPECT_TRUE(*there);
  EXPECT_EQ(found, content);
}

TEST_F(FilledPlaceTest, SaysWhatOfTheQueueCannotBeSynced) {
  ::signal(SIGXFSZ, SIG_IGN);
  RestoredPlace place = Open();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limited{1 << 20, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
  [[maybe_unused]] const Status either =
      place.Write(PartOf("base/5/large", 8 << 20, Pattern(kPart, 1)));
  const Status synced = place.Sync();
  ::setrlimit(RLIMIT_FSIZE, &before);

  EXPECT_EQ(synced.os_error(), EFBIG);
  EXPECT_THAT(synced.message(), testing::HasSubstr("base/5/large"));
}

}  // namespace
}  // namespace capstan::writers
