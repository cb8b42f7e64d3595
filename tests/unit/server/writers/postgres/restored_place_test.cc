#include "server/writers/postgres/restored_place.h"

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
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

}  // namespace
}  // namespace capstan::writers
