// HEADERONLY of media on which sets of several programs stand: each row says what is known of its
// set, and nothing of one that a password hides.
#include <cstring>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "server/coordinator/listings.h"
#include "server/media/sqlserver/verifier.h"
#include "tests/support/sqlserver_media.h"
#include "tests/unit/server/media/foreign_medium.h"
#include "tests/unit/server/media/medium_builder.h"
#include "tests/unit/server/media/memory_source.h"

namespace capstan::coordinator {
namespace {

using media::ByteVector;
using test::HasReason;
using test::IsOk;
using Value = std::optional<std::string>;

constexpr char kProtected[] = "***Password Protected***";

catalog::Table HeadersOf(const ByteVector& medium) {
  media::MemorySource source(medium);
  const Result<media::MediumListing> listing = media::ReadListing(source);
  EXPECT_THAT(listing, IsOk());
  return listing.ok() ? HeaderOnlyTable(*listing, {.device_type = 2}) : catalog::Table();
}

Value Cell(const catalog::Table& table, std::size_t row, const std::string& column) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].name == column) {
      return table.rows.at(row).at(i);
    }
  }
  ADD_FAILURE() << "no column " << column;
  return std::nullopt;
}

// The name is a sentence, place and device are known, and all else is NULL.
void ExpectHidden(const catalog::Table& table, std::size_t row) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const std::string& column = table.columns[i].name;
    const Value expected = column == "BackupName"   ? Value(kProtected)
                           : column == "Position"   ? Value(std::to_string(row + 1))
                           : column == "DeviceType" ? Value("2")
                                                    : std::nullopt;
    EXPECT_EQ(table.rows[row][i], expected) << column;
  }
}

ByteVector AppendOurs(const ByteVector& bytes, std::optional<bool> read_only = std::nullopt) {
  media::MemorySource source(bytes);
  const Result<media::MediumListing> listing = media::ReadListing(source);
  EXPECT_THAT(listing, IsOk());
  media::BackupSet set = media::TestSet(65536);
  set.position = listing->append->position;
  set.is_read_only = read_only;
  media::MediumBuilder builder(
      {.header = listing->header, .set = set, .form = {}, .append = listing->append}, bytes);
  builder.Add({.length = 4096});
  return builder.Finish().bytes;
}

TEST(MixedMedia, OfAnotherProgramWithASetOfOurs) {
  const ByteVector medium = AppendOurs(
      media::ForeignMediumBuilder({.set_map = true, .sets = 3, .protected_set = 2}).Build());

  const catalog::Table table = HeadersOf(medium);

  ASSERT_EQ(table.rows.size(), 4U);
  EXPECT_EQ(Cell(table, 0, "BackupName"), "Foreign set 1");
  EXPECT_EQ(Cell(table, 0, "BackupTypeDescription"), "Normal");
  EXPECT_EQ(Cell(table, 0, "SoftwareVendorId"), "3262");
  EXPECT_EQ(Cell(table, 0, "MachineName"), "OLDBOX");
  EXPECT_EQ(Cell(table, 0, "DatabaseName"), std::nullopt);
  EXPECT_EQ(Cell(table, 0, "BackupSetGUID"), std::nullopt);
  ExpectHidden(table, 1);
  EXPECT_EQ(Cell(table, 2, "BackupName"), "Foreign set 3");
  EXPECT_EQ(Cell(table, 3, "DatabaseName"), media::TestSet(65536).database_name);
  EXPECT_EQ(Cell(table, 3, "Position"), "4");
}

// S2-21: IsReadOnly and its bit of Flags; NULL for a set that is older than the column.
TEST(MixedMedia, OfSetsThatKnowWhetherTheirDatabaseWasReadOnlyAndOneThatDoesNot) {
  const catalog::Table table =
      HeadersOf(AppendOurs(AppendOurs(media::SmallMedium().bytes, false), true));

  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_EQ(Cell(table, 0, "IsReadOnly"), std::nullopt);
  EXPECT_EQ(Cell(table, 0, "Flags"), "528");
  EXPECT_EQ(Cell(table, 1, "IsReadOnly"), "0");
  EXPECT_EQ(Cell(table, 1, "Flags"), "528");
  EXPECT_EQ(Cell(table, 2, "IsReadOnly"), "1");
  EXPECT_EQ(Cell(table, 2, "Flags"), "532");
}

// Where the SSET of a set stands: behind every second soft filemark of 512 bytes.
std::size_t SetBlockOf(const ByteVector& medium, int position) {
  int found = 0;
  for (std::size_t at = 0; at + sizeof(media::SetBlock) <= medium.size(); at += 512) {
    found += std::memcmp(medium.data() + at, "SSET", 4) == 0;
    if (found == position) {
      return at;
    }
  }
  ADD_FAILURE() << "no set " << position;
  return 0;
}

// Sets of SQL Server, of another program, and of SQL Server under a password on one medium.
ByteVector OfSqlServer() {
  ByteVector medium = test::MakeSqlServerMedium({.sets = 3, .extents = 1}).bytes;
  const std::uint16_t other_vendor = 0x0CBE;
  std::memcpy(medium.data() + SetBlockOf(medium, 1) + offsetof(media::SetBlock, software_vendor_id),
              &other_vendor, sizeof(other_vendor));
  const media::TapeAddress password{.size = 16, .offset = sizeof(media::SetBlock)};
  std::memcpy(medium.data() + SetBlockOf(medium, 3) + offsetof(media::SetBlock, password),
              &password, sizeof(password));
  return medium;
}

TEST(MixedMedia, OfSqlServerWithASetOfAnotherProgram) {
  const catalog::Table table = HeadersOf(OfSqlServer());

  ASSERT_EQ(table.rows.size(), 3U);
  EXPECT_EQ(Cell(table, 0, "BackupName"), "sales-full");
  EXPECT_EQ(Cell(table, 0, "DatabaseName"), std::nullopt);
  EXPECT_EQ(Cell(table, 0, "SoftwareVendorId"), "3262");
  EXPECT_EQ(Cell(table, 1, "DatabaseName"), "sales");
  EXPECT_EQ(Cell(table, 1, "SoftwareVendorId"), "4608");
  ExpectHidden(table, 2);
}

TEST(MixedMedia, OfSqlServerIsVerifiedAsFarAsItIsSqlServers) {
  const ByteVector medium = OfSqlServer();
  const auto verify = [&](std::uint16_t position) {
    media::MemorySource source(medium);
    return media::sqlserver::VerifyFamily(source, {.position = position}).status();
  };

  EXPECT_THAT(verify(1), HasReason(3143));
  EXPECT_THAT(verify(2), IsOk());
  EXPECT_THAT(verify(3), HasReason(3279));
}

}  // namespace
}  // namespace capstan::coordinator
