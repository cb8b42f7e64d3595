#include "server/writers/postgres/page_verifier.h"

#include <algorithm>
#include <filesystem>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "server/writers/positioned_io.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/unit/server/writers/postgres/data_pages.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::IsOk;
using test_pages::kPageBytes;
using test_pages::MakePage;

constexpr Lsn kStart{0x3000000};
constexpr Lsn kStop{0x4000000};

// A relation's second segment of four pages, blocks 100 to 103.
class PageVerifierTest : public testing::Test {
 protected:
  PageVerifierTest() {
    for (std::uint32_t i = 0; i < 4; ++i) {
      Put(i, MakePage({0x2000000 + i}, 100 + i, std::byte{7}));
    }
  }
  void Put(std::uint64_t index, const std::vector<std::byte>& page) {
    EXPECT_THAT(WriteFully(fd_.get(), index * kPageBytes, page), IsOk());
  }
  std::vector<std::byte> Read(std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_THAT(ReadOrZero(fd_.get(), offset, bytes), IsOk());
    return bytes;
  }
  PageVerifier MakeVerifier(bool checksums = true) {
    return PageVerifier({.page_bytes = kPageBytes,
                         .checksums = checksums,
                         .start = kStart,
                         .on_page_error = [this](const PageError& error) {
                           errors_.push_back(error);
                           return OkStatus();
                         }});
  }
  PageVerifier::Source source() {
    return {.file_id = 2, .physical_name = path_, .fd = fd_.get(), .first_block = 100};
  }

  test::TemporaryDirectory folder_;
  const std::string path_ = folder_.Under("16384.1");
  const UniqueFd fd_{::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  std::vector<PageError> errors_;
};

TEST_F(PageVerifierTest, SaysNothingOfGoodPages) {
  PageVerifier verifier = MakeVerifier();
  std::vector<std::byte> bytes = Read(0, 4 * kPageBytes);

  EXPECT_THAT(verifier.Check(source(), 0, bytes), IsOk());
  EXPECT_THAT(verifier.Settle(kStop), IsOk());
  EXPECT_TRUE(errors_.empty());
}

TEST_F(PageVerifierTest, PutsTheWholePageInPlaceOfATornOne) {
  PageVerifier verifier = MakeVerifier();
  std::vector<std::byte> bytes = Read(0, 4 * kPageBytes);
  const std::vector<std::byte> good = bytes;
  std::fill_n(bytes.begin() + kPageBytes + 4096, 4096, std::byte{9});

  EXPECT_THAT(verifier.Check(source(), 0, bytes), IsOk());
  EXPECT_EQ(bytes, good);
  EXPECT_TRUE(errors_.empty());
}

TEST_F(PageVerifierTest, NamesAPageThatIsOlderThanTheBackupAndWrong) {
  std::vector<std::byte> page = MakePage({0x2000000}, 102, std::byte{7});
  page[5000] = std::byte{1};
  Put(2, page);
  PageVerifier verifier = MakeVerifier();
  std::vector<std::byte> bytes = Read(0, 4 * kPageBytes);

  EXPECT_THAT(verifier.Check(source(), 0, bytes), IsOk());

  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_EQ(errors_[0].page, 102U);
  EXPECT_EQ(errors_[0].file, path_);
  EXPECT_EQ(errors_[0].file_id, 2U);
}

// The same bytes at another block: a page that was written to the wrong place.
TEST_F(PageVerifierTest, NamesAPageThatIsInAnothersPlace) {
  Put(1, MakePage({0x2000000}, 100, std::byte{7}));
  PageVerifier verifier = MakeVerifier();
  std::vector<std::byte> bytes = Read(kPageBytes, kPageBytes);

  EXPECT_THAT(verifier.Check(source(), kPageBytes, bytes), IsOk());

  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_EQ(errors_[0].page, 101U);
}

TEST_F(PageVerifierTest, LeavesToTheLogWhatChangedAfterTheBackupBegan) {
  std::vector<std::byte> repaired = MakePage({0x3000100}, 100, std::byte{7});
  repaired[5000] = std::byte{1};
  Put(0, repaired);
  std::vector<std::byte> from_the_future = MakePage({0x9000100}, 103, std::byte{7});
  from_the_future[5000] = std::byte{1};
  Put(3, from_the_future);
  PageVerifier verifier = MakeVerifier();
  std::vector<std::byte> bytes = Read(0, 4 * kPageBytes);

  EXPECT_THAT(verifier.Check(source(), 0, bytes), IsOk());
  EXPECT_TRUE(errors_.empty());
  EXPECT_THAT(verifier.Settle(kStop), IsOk());

  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_EQ(errors_[0].page, 103U);
}

TEST_F(PageVerifierTest, TakesAnEmptyPageOnlyIfAllOfItIsEmpty) {
  Put(0, std::vector<std::byte>(kPageBytes));
  std::vector<std::byte> wiped = MakePage({0x2000000}, 101, std::byte{7});
  std::fill_n(wiped.begin(), 24, std::byte{0});
  Put(1, wiped);
  PageVerifier verifier = MakeVerifier();
  std::vector<std::byte> bytes = Read(0, 2 * kPageBytes);

  EXPECT_THAT(verifier.Check(source(), 0, bytes), IsOk());

  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_EQ(errors_[0].page, 101U);
}

TEST_F(PageVerifierTest, JudgesPagesThatComeInPiecesOnce) {
  std::vector<std::byte> page = MakePage({0x2000000}, 101, std::byte{7});
  page[5000] = std::byte{1};
  Put(1, page);
  PageVerifier verifier = MakeVerifier();

  for (std::uint64_t at = 0; at < 4 * kPageBytes; at += 3000) {
    std::vector<std::byte> bytes = Read(at, std::min<std::size_t>(3000, 4 * kPageBytes - at));
    EXPECT_THAT(verifier.Check(source(), at, bytes), IsOk());
  }

  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_EQ(errors_[0].page, 101U);
}

TEST_F(PageVerifierTest, DoesNotMissPagesThatHaveBeenCutOff) {
  PageVerifier verifier = MakeVerifier();
  std::vector<std::byte> bytes = Read(0, 4 * kPageBytes);
  bytes[3 * kPageBytes + 100] = std::byte{1};
  ASSERT_EQ(::ftruncate(fd_.get(), 3 * kPageBytes), 0);

  EXPECT_THAT(verifier.Check(source(), 0, bytes), IsOk());
  EXPECT_TRUE(errors_.empty());
}

TEST_F(PageVerifierTest, WithoutChecksumsJudgesByTheHeader) {
  std::vector<std::byte> changed = MakePage({0x2000000}, 100, std::byte{7});
  changed[5000] = std::byte{1};
  Put(0, changed);
  std::vector<std::byte> impossible = MakePage({0x2000000}, 101, std::byte{7});
  test_pages::SetNumber(impossible, 12, 9000);
  Put(1, impossible);
  PageVerifier verifier = MakeVerifier(false);
  std::vector<std::byte> bytes = Read(0, 4 * kPageBytes);

  EXPECT_THAT(verifier.Check(source(), 0, bytes), IsOk());

  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_EQ(errors_[0].page, 101U);
}

TEST_F(PageVerifierTest, FindsPagesRightAsTheyAreOrNot) {
  const PageVerifier verifier = MakeVerifier();
  std::vector<std::byte> bytes = Read(0, 4 * kPageBytes);
  EXPECT_TRUE(verifier.AreRight(source(), 0, bytes).value());
  EXPECT_TRUE(verifier.AreRight(source(), 3000, std::span(bytes).subspan(3000)).value());
  bytes[kPageBytes + 4096] = std::byte{9};

  EXPECT_FALSE(verifier.AreRight(source(), 0, bytes).value());
  EXPECT_TRUE(verifier.AreRight(source(), 0, std::span(bytes).first(2 * kPageBytes - 1)).value())
      << "of a page that ends elsewhere";
  EXPECT_TRUE(errors_.empty());
}

// Also one that the log would repair: whoever reads it again will find out.
TEST_F(PageVerifierTest, FindsAPageThatBeginsBeforeTheBytesInTheFile) {
  std::vector<std::byte> torn = MakePage({0x3000100}, 100, std::byte{7});
  torn[10] = std::byte{1};
  Put(0, torn);
  const PageVerifier verifier = MakeVerifier();
  const std::vector<std::byte> bytes = Read(3000, kPageBytes);

  EXPECT_FALSE(verifier.AreRight(source(), 3000, bytes).value());
  EXPECT_FALSE(
      verifier.AreRight({.physical_name = path_, .fd = -1, .first_block = 100}, 3000, bytes).ok());
}

TEST_F(PageVerifierTest, EndsWithTheErrorOfWhoIsTold) {
  Put(0, MakePage({0x2000000}, 9, std::byte{7}));
  PageVerifier verifier({.checksums = true, .start = kStart, .on_page_error = [](const PageError&) {
                           return Error(Code::kDataLoss, "enough");
                         }});
  std::vector<std::byte> bytes = Read(0, kPageBytes);

  EXPECT_THAT(verifier.Check(source(), 0, bytes), HasCode(Code::kDataLoss));
}

}  // namespace
}  // namespace capstan::writers
