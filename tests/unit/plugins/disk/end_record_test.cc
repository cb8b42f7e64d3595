#include "plugins/disk/end_record.h"

#include <cerrno>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "plugins/disk/descriptor.h"
#include "tests/support/temporary_directory.h"

namespace capstan::disk {
namespace {

class EndRecordTest : public testing::Test {
 protected:
  void SetUp() override {
    file_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(file_.valid());
    ASSERT_EQ(::ftruncate(file_.get(), 8192), 0);
  }
  // Of token "t1".
  bool Found(EndRecord* record) {
    bool found = false;
    EXPECT_EQ(ReadEndRecord(file_.get(), path_, "t1", record, &found).message, "");
    return found;
  }
  bool Found() {
    EndRecord record;
    return Found(&record);
  }
  void Write(std::int64_t end, std::int64_t place, const std::string& token = "t1") {
    EXPECT_EQ(WriteEndRecord(file_.get(), path_, token, {.end = end, .place = place}).message, "");
  }

  const test::TemporaryDirectory directory_;
  const std::string path_ = directory_.Under("file");
  Descriptor file_;
};

TEST_F(EndRecordTest, IsTheLastBlockOfItsFile) {
  EXPECT_FALSE(Found());
  Write(512, 8192);
  EndRecord record;
  ASSERT_TRUE(Found(&record));
  EXPECT_EQ(record.end, 512);
  EXPECT_EQ(record.place, 8192);

  Write(8192, 8192);
  ASSERT_TRUE(Found(&record));
  EXPECT_EQ(record.end, 8192);
  ASSERT_EQ(::ftruncate(file_.get(), 3 * 4096 + 512), 0);
  EXPECT_FALSE(Found()) << "something was written behind it";
  ASSERT_EQ(::ftruncate(file_.get(), 4 * 4096), 0);
  EXPECT_FALSE(Found());
}

TEST_F(EndRecordTest, PlaceIsTheNextMultipleOfABlock) {
  EXPECT_EQ(PlaceOfEndRecord(0), 0);
  EXPECT_EQ(PlaceOfEndRecord(1), 4096);
  EXPECT_EQ(PlaceOfEndRecord(4096), 4096);
  EXPECT_EQ(PlaceOfEndRecord(8191), 8192);
}

TEST_F(EndRecordTest, OfAnotherTokenOrPlaceIsNone) {
  Write(512, 8192, "t2");
  EXPECT_FALSE(Found());
  Write(512, 8192);
  char block[4096];
  ASSERT_EQ(::pread(file_.get(), block, sizeof(block), 8192), 4096);
  ASSERT_EQ(::pwrite(file_.get(), block, sizeof(block), 12288), 4096);
  EXPECT_FALSE(Found()) << "a copy of it";
  Write(12289, 12288);
  EXPECT_FALSE(Found()) << "the medium would end behind the file";
}

TEST_F(EndRecordTest, EveryFlippedBitAndEveryPrefixIsNone) {
  Write(512, 8192);
  for (std::int64_t at = 8192; at < 8192 + 4096; ++at) {
    char byte = 0;
    ASSERT_EQ(::pread(file_.get(), &byte, 1, at), 1);
    // Behind the text there are zeros only: one bit of each stands for all.
    for (int bit = 0; bit < (at < 8192 + 128 ? 8 : 1); ++bit) {
      const auto flipped = static_cast<char>(byte ^ (1 << bit));
      ASSERT_EQ(::pwrite(file_.get(), &flipped, 1, at), 1);
      EXPECT_FALSE(Found()) << at << " " << bit;
    }
    ASSERT_EQ(::pwrite(file_.get(), &byte, 1, at), 1);
  }
  EXPECT_TRUE(Found());
  for (std::int64_t size = 8192 + 4095; size >= 0; size -= 17) {
    ASSERT_EQ(::ftruncate(file_.get(), size), 0);
    EXPECT_FALSE(Found()) << size;
  }
}

TEST_F(EndRecordTest, FailuresNameTheMedium) {
  const Descriptor reader(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  const Failure unwritten = WriteEndRecord(reader.get(), "/m", "t1", {.end = 0, .place = 0});
  EXPECT_EQ(unwritten.os_error, EBADF);
  EXPECT_EQ(unwritten.message, "unable to note the end of medium '/m'");

  EndRecord record;
  bool found = true;
  EXPECT_EQ(ReadEndRecord(-1, "/m", "t1", &record, &found).message,
            "unable to look at medium '/m'");
  EXPECT_FALSE(found);
  const Descriptor writer(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(ReadEndRecord(writer.get(), "/m", "t1", &record, &found).message,
            "unable to read the end of medium '/m'");
}

}  // namespace
}  // namespace capstan::disk
