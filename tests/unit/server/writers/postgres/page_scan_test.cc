// PageScan finds what PageChanges finds, in the order of the file, however many threads read it.
#include "server/writers/postgres/page_scan.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>

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
constexpr Lsn kSince{0x5000000};

class PageScanTest : public testing::Test {
 protected:
  // A file in which every `step`-th page is newer than the base.
  void Write(std::uint64_t pages, std::uint64_t step) {
    std::ofstream file(path_, std::ios::binary);
    for (std::uint64_t i = 0; i < pages; ++i) {
      const Lsn lsn{i % step == 0 ? kSince.value + i : kSince.value - 1};
      const std::vector<std::byte> page =
          MakePage(lsn, static_cast<std::uint32_t>(i), std::byte{1});
      file.write(reinterpret_cast<const char*>(page.data()), kPageBytes);
    }
    file.close();
    fd_.Reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    file_ = {.fd = fd_.get(),
             .size_bytes = pages * kPageBytes,
             .before_read = [this](std::uint64_t end) {
               EXPECT_GE(end, told_);
               told_ = end;
             }};
    told_ = 0;
  }
  PageScan Scan() {
    return PageScan(
        PageChanges(PostgresSet{.block_bytes = kPageBytes, .wal_segment_bytes = 1 << 24}, kSince));
  }

  test::TemporaryDirectory directory_;
  const std::string path_ = directory_.Under("16384");
  UniqueFd fd_;
  PageScan::File file_;
  std::atomic<std::uint64_t> told_{0};
};

TEST_F(PageScanTest, FindsEveryChangedPageInOrder) {
  for (const std::uint64_t pages : {1U, 31U, 33U, 1024U, 1025U, 4001U}) {
    SCOPED_TRACE(pages);
    Write(pages, 7);
    PageScan scan = Scan();
    std::uint64_t end = 0;
    std::vector<std::uint64_t> found;
    ASSERT_THAT(scan.Run(file_,
                         [&](const PageScan::Part& part) {
                           EXPECT_EQ(part.offset, end);
                           end = part.offset + part.length;
                           EXPECT_LE(end, told_);
                           for (const PageChanges::Run& run : part.runs) {
                             EXPECT_EQ(run.length, kPageBytes);
                             found.push_back((part.offset + run.offset) / kPageBytes);
                           }
                           return OkStatus();
                         }),
                IsOk());
    EXPECT_EQ(end, pages * kPageBytes);
    std::vector<std::uint64_t> expected;
    for (std::uint64_t i = 0; i < pages; i += 7) {
      expected.push_back(i);
    }
    EXPECT_EQ(found, expected);
  }
}

TEST_F(PageScanTest, EndsWithTheErrorOfWhoeverTakes) {
  Write(4000, 2);
  PageScan scan = Scan();
  int parts = 0;
  EXPECT_THAT(scan.Run(file_,
                       [&](const PageScan::Part&) {
                         return ++parts == 20 ? Error(Code::kCancelled, "enough") : OkStatus();
                       }),
              HasCode(Code::kCancelled));
  EXPECT_EQ(parts, 20);
}

TEST_F(PageScanTest, EndsWithTheErrorOfTheFile) {
  Write(4000, 2);
  file_.fd = -1;
  PageScan scan = Scan();
  const Status status = scan.Run(file_, [](const PageScan::Part&) { return OkStatus(); });
  EXPECT_EQ(status.os_error(), EBADF);
}

}  // namespace
}  // namespace capstan::writers
