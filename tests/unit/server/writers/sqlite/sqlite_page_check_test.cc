// WITH CHECKSUM: a bad page is named by its number, and a sound database never raises an alarm,
// whatever its shape (S0-29). The same of the pages as they come back from a backup, in any order.
#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/writers/sqlite/sqlite_format.h"
#include "server/writers/sqlite/sqlite_read_back_check.h"
#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::writers {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): matchers and fixtures of this test
using testing::ElementsAre;
using testing::IsEmpty;

class SqlitePageCheckTest : public testing::Test {
 protected:
  // The bad pages that a backup WITH CHECKSUM finds, with their causes in `causes_`; a restore of
  // that backup finds the same.
  std::vector<std::uint64_t> BadPages(const std::string& path, std::uint32_t length_max = 1 << 20) {
    std::vector<std::uint64_t> pages;
    causes_.clear();
    BackupOptions options;
    options.on_page_error = [&](const PageError& error) {
      pages.push_back(error.page);
      causes_ += fmt::format("{}: {}\n", error.page, error.cause);
      return OkStatus();
    };
    auto session = writer_.BeginBackup(path, "db", options);
    EXPECT_THAT(session, IsOk());
    if (session.ok()) {
      const auto image = ReadAll(**session, length_max);
      EXPECT_THAT(image, IsOk());
      EXPECT_THAT((*session)->End(), IsOk());
      if (image.ok()) {
        const DatabaseFile& file = (*session)->description().files.front();
        const std::uint32_t piece = std::min<std::uint32_t>(length_max, 12 << 10);
        EXPECT_EQ(Sorted(BadPagesReadBack(file, *image, piece)), Sorted(pages)) << causes_;
      }
    }
    return pages;
  }

  // The bad pages of an image that comes back in pieces, their order as chance has it.
  std::vector<std::uint64_t> BadPagesReadBack(const DatabaseFile& file, const std::string& image,
                                              std::uint32_t length_max,
                                              const std::set<std::uint64_t>& missing = {}) {
    std::vector<std::uint64_t> pages;
    auto check = SqliteReadBackCheck::Begin(std::span(&file, 1), [&](const PageError& error) {
      pages.push_back(error.page);
      causes_ += fmt::format("read back {}: {}\n", error.page, error.cause);
      return OkStatus();
    });
    EXPECT_THAT(check, IsOk());
    if (!check.ok()) {
      return pages;
    }
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t at = 0; at < image.size(); at += length_max) {
      offsets.push_back(at);
    }
    std::shuffle(offsets.begin(), offsets.end(), random_);
    for (const std::uint64_t at : offsets) {
      const auto length =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(length_max, image.size() - at));
      if (missing.contains(at)) {
        (*check)->Miss(0, at, length);
        continue;
      }
      EXPECT_THAT((*check)->Take({.offset = at, .length = length},
                                 std::as_bytes(std::span(image)).subspan(at, length)),
                  IsOk());
    }
    EXPECT_THAT((*check)->Finish(), IsOk());
    return pages;
  }

  static std::vector<std::uint64_t> Sorted(std::vector<std::uint64_t> pages) {
    std::sort(pages.begin(), pages.end());
    return pages;
  }
  static DatabaseFile FileOf(const std::string& image, std::uint32_t page_size = 4096) {
    return {.physical_name = "/db", .size_bytes = image.size(), .page_size = page_size};
  }

  // A database of one table with an index, in rollback mode so that the file has it all.
  std::string Sample(int page_size = 4096) {
    const std::string path = scratch_.Under("sample.db");
    Application application(path);
    application.Run("PRAGMA synchronous=OFF");
    application.Run(fmt::format("PRAGMA page_size={}", page_size));
    application.Run("CREATE TABLE t(id INTEGER PRIMARY KEY, payload TEXT, sum INTEGER)");
    application.Run("CREATE INDEX t_sum ON t(payload)");
    InsertRows(application, 1, 3000);
    return path;
  }

  // The pages of a b-tree of the sample by the byte that they begin with.
  static std::vector<std::uint32_t> PagesOfType(const std::string& bytes, int page_size,
                                                char type) {
    std::vector<std::uint32_t> pages;
    for (std::size_t at = static_cast<std::size_t>(page_size); at < bytes.size();
         at += static_cast<std::size_t>(page_size)) {
      if (bytes[at] == type) {
        pages.push_back(static_cast<std::uint32_t>(at / static_cast<std::size_t>(page_size) + 1));
      }
    }
    return pages;
  }

  TemporaryDirectory scratch_;
  SqliteWriter writer_;
  std::string causes_;
  std::mt19937_64 random_{4711};
};

TEST_F(SqlitePageCheckTest, EveryKindOfDamageToAPageIsFoundAndNamesIt) {
  const std::string path = Sample();
  const std::string good = ReadWhole(path);
  ASSERT_THAT(BadPages(path), IsEmpty()) << causes_;
  const auto damaged = [&](std::uint32_t page, const std::function<void(std::string*)>& damage) {
    std::string bytes = good;
    std::string one = bytes.substr((page - 1) * 4096, 4096);
    damage(&one);
    bytes.replace((page - 1) * 4096, 4096, one);
    WriteWhole(path, bytes);
    return BadPages(path);
  };
  for (const char type : {'\x02', '\x05', '\x0a', '\x0d'}) {
    const std::vector<std::uint32_t> pages = PagesOfType(good, 4096, type);
    ASSERT_FALSE(pages.empty()) << int{type};
    const std::uint32_t page = pages[pages.size() / 2];
    EXPECT_THAT(damaged(page, [](std::string* p) { p->assign(4096, '\0'); }), ElementsAre(page))
        << causes_;
    EXPECT_THAT(damaged(page, [](std::string* p) { (*p)[0] = '\x07'; }), ElementsAre(page));
    EXPECT_THAT(damaged(page, [](std::string* p) { (*p)[0] ^= '\x07'; }), ElementsAre(page))
        << "the type of another kind of tree: " << causes_;
    const std::size_t pointers = type == '\x02' || type == '\x05' ? 12 : 8;
    EXPECT_THAT(damaged(page, [&](std::string* p) { p->replace(pointers, 2, "\xff\xf0"); }),
                ElementsAre(page))
        << "a cell pointer behind the page";
    EXPECT_THAT(damaged(page, [&](std::string* p) { p->replace(pointers, 2, "\x00\x01", 2); }),
                ElementsAre(page))
        << "a cell pointer into the header";
    EXPECT_THAT(damaged(page, [&](std::string* p) { p->replace(1, 2, "\x00\x05", 2); }),
                ElementsAre(page))
        << "a free block in the header";
    EXPECT_THAT(damaged(page, [&](std::string* p) { p->replace(3, 2, "\xff\xff"); }),
                ElementsAre(page))
        << "more cells than there is room for";
  }
}

TEST_F(SqlitePageCheckTest, AnErrorOfTheHandlerEndsTheBackup) {
  const std::string path = Sample();
  std::string bytes = ReadWhole(path);
  const std::uint32_t page = PagesOfType(bytes, 4096, '\x0d').back();
  bytes[(page - 1) * 4096] = '\0';
  WriteWhole(path, bytes);
  BackupOptions options;
  options.on_page_error = [](const PageError& error) {
    return Error(Code::kDataLoss, "page {}", error.page);
  };
  auto session = writer_.BeginBackup(path, "db", options);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT(ReadAll(**session, 1 << 20), IsOk());
  EXPECT_THAT((*session)->End(), MessageHas(fmt::format("page {}", page)));
}

// Nobody to tell means that nobody asked: the check and its handler are one option.
TEST_F(SqlitePageCheckTest, WithoutAHandlerABadPageIsCopiedAsItIs) {
  const std::string path = Sample();
  std::string bytes = ReadWhole(path);
  bytes[(PagesOfType(bytes, 4096, '\x0d').back() - 1) * 4096] = '\0';
  WriteWhole(path, bytes);
  const auto image = BackUp(writer_, path);
  ASSERT_THAT(image, IsOk());
  EXPECT_TRUE(*image == bytes);
}

TEST_F(SqlitePageCheckTest, TheListOfFreePagesIsChecked) {
  const std::string path = Sample();
  {
    Application application(path);
    application.Run("DELETE FROM t WHERE id > 200");
  }
  std::string bytes = ReadWhole(path);
  ASSERT_THAT(BadPages(path), IsEmpty()) << causes_;
  const std::uint32_t trunk =
      LoadBigEndian32(reinterpret_cast<const std::byte*>(bytes.data()) + 32);
  ASSERT_NE(trunk, 0U);
  std::string broken = bytes;
  broken.replace((trunk - 1) * 4096 + 8, 4, "\x7f\xff\xff\xff");
  WriteWhole(path, broken);
  EXPECT_THAT(BadPages(path), ElementsAre(trunk)) << causes_;
  broken = bytes;
  broken[39] ^= '\x01';  // the count in the header
  WriteWhole(path, broken);
  EXPECT_THAT(BadPages(path), ElementsAre(1)) << causes_;
}

// As the checksum VFS leaves a database: eight reserved bytes in every page with its checksum.
void AddChecksums(const std::string& path, std::size_t page_size) {
  std::string bytes = ReadWhole(path);
  for (std::size_t at = 0; at < bytes.size(); at += page_size) {
    const auto covered = std::as_bytes(std::span(bytes)).subspan(at, page_size - 8);
    const WalChecksum sum = ExtendWalChecksum({}, covered, ChecksumOrder::kLittleEndian);
    for (std::size_t i = 0; i < 4; ++i) {
      bytes[at + page_size - 8 + i] = static_cast<char>(sum.first >> (8 * i));
      bytes[at + page_size - 4 + i] = static_cast<char>(sum.second >> (8 * i));
    }
  }
  WriteWhole(path, bytes);
}

TEST_F(SqlitePageCheckTest, AnyFlippedBitOfADatabaseWithChecksumsIsFound) {
  const std::string path = scratch_.Under("checked.db");
  {
    Application application(path);
    application.Run("PRAGMA synchronous=OFF");
    int reserved = 8;
    sqlite3_file_control(application.handle(), "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    application.Run("CREATE TABLE t(id INTEGER PRIMARY KEY, payload TEXT, sum INTEGER)");
    InsertRows(application, 1, 300);
    application.Run("INSERT INTO t VALUES (301, zeroblob(50000), 0)");
  }
  EXPECT_THAT(BadPages(path), IsEmpty()) << "reserved, and without checksums: " << causes_;
  AddChecksums(path, 4096);
  const std::string good = ReadWhole(path);
  ASSERT_EQ(good[20], '\x08');
  ASSERT_THAT(BadPages(path), IsEmpty()) << causes_;
  for (std::size_t at = 150; at < good.size(); at += 7001) {
    std::string bytes = good;
    bytes[at] ^= static_cast<char>(1 << at % 8);
    WriteWhole(path, bytes);
    EXPECT_THAT(BadPages(path), testing::Contains(at / 4096 + 1)) << at;
  }
}

// Pages that do not fit one transfer come in pieces.
TEST_F(SqlitePageCheckTest, PagesLargerThanAnExtentArePutTogether) {
  const std::string path = Sample(65536);
  EXPECT_THAT(BadPages(path, 60 << 10), IsEmpty()) << causes_;
  std::string bytes = ReadWhole(path);
  const std::uint32_t page = PagesOfType(bytes, 65536, '\x0d').front();
  bytes[(page - 1) * std::size_t{65536} + 8] = '\0';
  bytes[(page - 1) * std::size_t{65536} + 9] = '\x01';
  WriteWhole(path, bytes);
  EXPECT_THAT(BadPages(path, 60 << 10), ElementsAre(page));
}

TEST_F(SqlitePageCheckTest, NothingIsSaidOfPagesThatAreMissing) {
  const std::string image = ReadWhole(Sample());
  constexpr std::uint32_t kPiece = 3 * 4096;
  for (std::uint64_t at = 0; at < image.size(); at += kPiece) {
    EXPECT_THAT(BadPagesReadBack(FileOf(image), image, kPiece, {at}), IsEmpty())
        << at << ": " << causes_;
  }
  std::string bytes = image;
  const std::uint32_t page = PagesOfType(bytes, 4096, '\x0d').back();
  bytes[(page - 1) * std::size_t{4096} + 3] = '\x7f';
  EXPECT_THAT(BadPagesReadBack(FileOf(bytes), bytes, kPiece, {std::uint64_t{3} * kPiece}),
              ElementsAre(page));
}

TEST_F(SqlitePageCheckTest, WhatComesBackMustBeginAsADatabase) {
  std::string bytes = ReadWhole(Sample());
  bytes[0] = 'X';
  EXPECT_THAT(BadPagesReadBack(FileOf(bytes), bytes, 65536), ElementsAre(1));
  bytes[0] = 'S';
  bytes[16] = '\x20';  // pages of 8192 bytes
  EXPECT_THAT(BadPagesReadBack(FileOf(bytes), bytes, 65536), ElementsAre(1));
}

TEST_F(SqlitePageCheckTest, OnlyTheFileOfADatabaseIsReadBack) {
  const auto begin = [&](const std::vector<DatabaseFile>& files) {
    return writer_.BeginPageCheck(files, [](const PageError&) { return OkStatus(); });
  };
  const DatabaseFile good{.size_bytes = 8192, .page_size = 4096};
  ASSERT_THAT(begin({good}), IsOk());
  EXPECT_THAT(begin({}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(begin({good, good}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(begin({{.size_bytes = 8192, .page_size = 0}}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(begin({{.size_bytes = 8192, .page_size = 4097}}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(begin({{.size_bytes = 8191, .page_size = 4096}}), HasCode(Code::kInvalidArgument));
  EXPECT_THAT(begin({{.size_bytes = 0, .page_size = 4096}}), HasCode(Code::kInvalidArgument));
  const auto check = begin({good});
  const std::vector<std::byte> page(4096);
  EXPECT_THAT((*check)->Take({.file_index = 1, .length = 4096}, page),
              HasCode(Code::kInvalidArgument));
  EXPECT_THAT((*check)->Take({.offset = 8192, .length = 4096}, page),
              HasCode(Code::kInvalidArgument));
}

TEST_F(SqlitePageCheckTest, AnErrorOfTheHandlerEndsTheReadingBack) {
  std::string bytes = ReadWhole(Sample());
  bytes[(PagesOfType(bytes, 4096, '\x0d').back() - 1) * std::size_t{4096}] = '\0';
  const DatabaseFile file = FileOf(bytes);
  auto check = writer_.BeginPageCheck(std::span(&file, 1), [](const PageError& error) {
    return Error(Code::kDataLoss, "{} {}", error.file, error.cause);
  });
  ASSERT_THAT(check, IsOk());
  ASSERT_THAT((*check)->Take({.length = static_cast<std::uint32_t>(bytes.size())},
                             std::as_bytes(std::span(bytes))),
              IsOk());
  EXPECT_THAT((*check)->Finish(), MessageHas("/db it is no page of a b-tree"));
}

// Long names and statements, in every encoding: the schema's rows do not fit their pages.
TEST_F(SqlitePageCheckTest, RootsAreFoundInASchemaOfAnyShape) {
  for (const char* const encoding : {"UTF-8", "UTF-16le", "UTF-16be"}) {
    const std::string path = scratch_.Under(std::string(encoding) + ".db");
    {
      Application application(path);
      application.Run("PRAGMA synchronous=OFF");
      application.Run("PRAGMA page_size=1024");
      application.Run(fmt::format("PRAGMA encoding='{}'", encoding));
      for (int i = 0; i < 40; ++i) {
        application.Run(fmt::format("CREATE TABLE \"t{}\"(a INTEGER PRIMARY KEY, b /* {} */)", i,
                                    std::string(static_cast<std::size_t>(i) * 50, 'x')));
        application.Run(fmt::format("CREATE VIEW v{} AS SELECT 1", i));
        application.Run(fmt::format("INSERT INTO t{}(b) VALUES ('x')", i));
      }
    }
    const std::string good = ReadWhole(path);
    ASSERT_THAT(BadPages(path), IsEmpty()) << causes_;
    int found = 0;
    for (const std::uint32_t page : PagesOfType(good, 1024, '\x0d')) {
      std::string bytes = good;
      bytes[(page - 1) * std::size_t{1024}] = '\0';
      found +=
          BadPagesReadBack(FileOf(bytes, 1024), bytes, 4096) == std::vector<std::uint64_t>{page}
              ? 1
              : 0;
    }
    EXPECT_GE(found, 40) << encoding;
  }
}

// A schema and a life of a database that chance makes.
class RandomDatabase {
 public:
  RandomDatabase(const std::string& path, std::uint64_t seed) : application_(path), random_(seed) {
    application_.Run("PRAGMA synchronous=OFF");
    application_.Run(fmt::format("PRAGMA page_size={}", 512 << Pick(8)));
    application_.Run(fmt::format("PRAGMA auto_vacuum={}", Pick(3)));
    application_.Run(Pick(2) == 0 ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE");
    const int tables = Pick(5);
    for (int i = 0; i < tables; ++i) {
      Make(i);
    }
    for (int i = 0; i < 12 && tables > 0; ++i) {
      Change(Pick(tables));
    }
    if (Pick(3) == 0) {
      application_.Run("PRAGMA incremental_vacuum(7)");
    }
    if (Pick(4) == 0) {
      application_.Run("VACUUM");
    }
  }
  Application& application() { return application_; }

 private:
  int Pick(int count) { return std::uniform_int_distribution<int>(0, count - 1)(random_); }
  void Make(int i) {
    switch (Pick(5)) {
      case 0:
        application_.Run(fmt::format("CREATE TABLE t{}(a, b, PRIMARY KEY(a, b)) WITHOUT ROWID", i));
        break;
      case 1:
        (void)application_.TryRun(fmt::format("CREATE VIRTUAL TABLE t{} USING fts5(a, b)", i));
        (void)application_.TryRun(fmt::format("CREATE TABLE IF NOT EXISTS t{}(a, b)", i));
        break;
      case 2:
        application_.Run(fmt::format("CREATE TABLE t{}(a TEXT UNIQUE, b /* without rowid */)", i));
        break;
      default:
        application_.Run(fmt::format("CREATE TABLE t{}(a, b)", i));
        application_.Run(fmt::format("CREATE INDEX i{} ON t{}(a, b)", i, i));
        break;
    }
  }
  void Change(int i) {
    const int most = Pick(2) == 0 ? 60 : 3000;  // with overflow pages, or without
    switch (Pick(5)) {
      case 0:
        (void)application_.TryRun(fmt::format("DELETE FROM t{} WHERE rowid % 3 = 1", i));
        (void)application_.TryRun(fmt::format("DELETE FROM t{} WHERE a < '8'", i));
        break;
      case 1:
        (void)application_.TryRun(
            fmt::format("UPDATE t{} SET b = hex(randomblob(abs(random()) % {}))", i, most));
        break;
      default:
        (void)application_.TryRun(fmt::format(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < {}) INSERT OR "
            "IGNORE INTO t{}(a, b) SELECT hex(randomblob(8)), hex(randomblob(abs(random()) % {})) "
            "FROM n",
            1 + Pick(200), i, most));
        break;
    }
  }

  Application application_;
  std::mt19937_64 random_;
};

// In its long form (CAPSTAN_LONG_TESTS) for thousands of databases.
TEST_F(SqlitePageCheckTest, ASoundDatabaseOfAnyShapeRaisesNoAlarm) {
  const int count = std::getenv("CAPSTAN_LONG_TESTS") != nullptr ? 3000 : 12;
  for (int seed = 0; seed < count; ++seed) {
    const std::string path = scratch_.Under(fmt::format("random{}.db", seed));
    RandomDatabase database(path, static_cast<std::uint64_t>(seed));
    if (ReadWhole(path).empty()) {
      database.application().Run("CREATE TABLE x(a)");
    }
    ASSERT_EQ(database.application().Ask("PRAGMA integrity_check"), "ok") << seed;
    EXPECT_THAT(BadPages(path), IsEmpty()) << "seed " << seed << ": " << causes_;
  }
}

}  // namespace
}  // namespace capstan::writers
