#include "server/writers/sqlite/sqlite_format.h"

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test

SqliteHeaderBytes HeaderOf(const std::string& path) {
  SqliteHeaderBytes bytes{};
  std::memcpy(bytes.data(), ReadWhole(path).data(), bytes.size());
  return bytes;
}

class SqliteFormat : public testing::Test {
 protected:
  TemporaryDirectory scratch_;
  const std::string path_ = scratch_.Under("a.db");
};

TEST_F(SqliteFormat, HeaderTellsPageSizeModeAndCount) {
  for (const int page_size : {512, 1024, 32768, 65536}) {
    const std::string path = scratch_.Under(std::to_string(page_size));
    MakeDatabase(path, page_size == 1024 ? "WAL" : "DELETE", 100, page_size);

    const auto header = ParseSqliteHeader(HeaderOf(path));

    ASSERT_THAT(header, IsOk());
    EXPECT_EQ(header->page_size, static_cast<std::uint32_t>(page_size));
    EXPECT_EQ(header->wal, page_size == 1024);
    EXPECT_EQ(std::uint64_t{header->page_count} * header->page_size,
              std::filesystem::file_size(path));
    EXPECT_EQ(SqliteVersionText(header->version_number), sqlite3_libversion());
  }
}

TEST_F(SqliteFormat, PageCountIsUnknownWhenAnOldProgramWroteLast) {
  MakeDatabase(path_, "DELETE", 10);
  SqliteHeaderBytes bytes = HeaderOf(path_);
  bytes[27] ^= std::byte{1};  // change counter, without "version valid for"

  EXPECT_EQ(ParseSqliteHeader(bytes)->page_count, 0U);
}

TEST_F(SqliteFormat, RefusesEveryOtherMagicAndPageSize) {
  MakeDatabase(path_, "DELETE", 10);
  for (std::size_t i = 0; i < 18; ++i) {
    SqliteHeaderBytes bytes = HeaderOf(path_);
    bytes[i] ^= std::byte{0x81};
    EXPECT_THAT(ParseSqliteHeader(bytes), HasCode(Code::kDataLoss)) << "byte " << i;
  }
}

TEST_F(SqliteFormat, ChecksumOfWalHeaderIsTheOneInIt) {
  Application application(path_);
  application.Run("PRAGMA journal_mode=WAL");
  application.Run("CREATE TABLE t(x)");
  const std::string wal = ReadWhole(path_ + "-wal");
  const auto bytes = std::as_bytes(std::span(wal));
  const ChecksumOrder order =
      (wal[3] & 1) != 0 ? ChecksumOrder::kBigEndian : ChecksumOrder::kLittleEndian;

  const WalChecksum checksum = ExtendWalChecksum({}, bytes.first(24), order);

  EXPECT_EQ(checksum.first, LoadBigEndian32(&bytes[24]));
  EXPECT_EQ(checksum.second, LoadBigEndian32(&bytes[28]));
}

}  // namespace
}  // namespace capstan::writers
