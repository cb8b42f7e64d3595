// Listings of media that SQL Server could have written, of every version and form.
#include <chrono>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/media/media_password.h"
#include "tests/unit/server/media/sqlserver/media_source.h"

namespace capstan::media::sqlserver {
namespace {

using Access = TestSource::Access;
using test::HasReason;
using test::IsOk;
using test::MakeSqlServerMedium;
using test::SparseMedium;
using test::SqlServerMediumOptions;

// Version, size of filemarks, compressed, sets.
using Form = std::tuple<int, std::uint32_t, bool, std::uint32_t>;
class SqlServerListing : public ::testing::TestWithParam<Form> {
 protected:
  static SqlServerMediumOptions Options() {
    const auto [major, mark_size, compressed, sets] = GetParam();
    return {.major = major,
            .minor = major == 10 ? 50 : 0,
            .mark_size = mark_size,
            .compressed = compressed,
            .sets = sets,
            .media_name = "weekly"};
  }
};

INSTANTIATE_TEST_SUITE_P(Versions, SqlServerListing,
                         ::testing::Values(Form{9, 512, false, 1}, Form{9, 4096, false, 2},
                                           Form{10, 512, false, 3}, Form{10, 512, true, 1},
                                           Form{13, 4096, false, 1}, Form{13, 512, true, 3},
                                           Form{15, 4096, true, 1}, Form{17, 512, false, 60},
                                           Form{17, 4096, true, 2}));

void CheckSet(const SetListing& listing, const SqlServerMediumOptions& options) {
  ASSERT_TRUE(listing.foreign_set.has_value());
  const SetFacts& facts = listing.foreign_set->facts;
  EXPECT_TRUE(listing.foreign);
  EXPECT_TRUE(listing.complete);
  EXPECT_TRUE(listing.foreign_set->by_sql_server);
  EXPECT_EQ(facts.name, "sales-full");
  EXPECT_EQ(facts.description, std::nullopt);
  EXPECT_EQ(facts.backup_type, 1);
  EXPECT_EQ(facts.type_description, "Database");
  EXPECT_EQ(facts.compressed, options.compressed);
  EXPECT_EQ(facts.user_name, "CONTOSO\\backup");
  EXPECT_EQ(facts.server_name, "DBSERVER\\SQL");
  EXPECT_EQ(facts.machine_name, "DBSERVER");
  EXPECT_EQ(facts.database_name, "sales");
  EXPECT_EQ(facts.first_lsn, "37000000043000037");
  EXPECT_EQ(facts.start_date, "2016-11-23 11:20:00.000");
  EXPECT_EQ(facts.finish_date, "2016-11-23 11:20:02.000");
  EXPECT_EQ(facts.software_major, options.major);
  if (options.major < 10) {  // which has no field for it
    EXPECT_EQ(facts.compressed_backup_size, facts.backup_size);
  }
  EXPECT_EQ(facts.collation, "SQL_Latin1_General_CP1_CI_AS");
  EXPECT_EQ(facts.recovery_model, "SIMPLE");
  EXPECT_EQ(facts.differential_base_guid, std::nullopt);
  EXPECT_EQ(facts.expiration_date, std::nullopt);
  EXPECT_EQ(facts.containment, options.major < 11 ? std::optional(0) : std::nullopt);
  ASSERT_EQ(listing.foreign_set->files.size(), 2U);
  const FileFacts& data = listing.foreign_set->files[0];
  const FileFacts& log = listing.foreign_set->files[1];
  EXPECT_EQ(data.logical_name, "sales1");
  EXPECT_EQ(data.physical_name, "C:\\data\\sales1.mdf");
  EXPECT_EQ(data.type, 'D');
  EXPECT_EQ(data.filegroup_name, "PRIMARY");
  EXPECT_EQ(data.max_size, 35184372080640U);
  EXPECT_EQ(log.type, 'L');
  EXPECT_EQ(log.filegroup_name, std::nullopt);
  EXPECT_EQ(log.filegroup_id, 0U);
}

TEST_P(SqlServerListing, SaysWhatTheMediumSaysByFilemarksAndByWalking) {
  const SparseMedium medium = MakeSqlServerMedium(Options());

  for (const Access access : {Access::kRandom, Access::kForward}) {
    TestSource source(medium, access);
    const Result<MediumListing> listing = ReadListing(source);
    ASSERT_THAT(listing, IsOk());
    EXPECT_EQ(listing->header.name, "weekly");
    EXPECT_EQ(listing->header.software_name, "Microsoft SQL Server");
    EXPECT_EQ(listing->header.software_vendor_id, 4608);
    EXPECT_EQ(listing->header.compressed, Options().compressed);
    EXPECT_EQ(listing->header.local_date, "2016-11-23 11:20:00.000");
    EXPECT_FALSE(listing->header.media_set_id.is_zero());
    ASSERT_EQ(listing->sets.size(), Options().sets);
    for (std::size_t i = 0; i < listing->sets.size(); ++i) {
      EXPECT_EQ(listing->sets[i].set.position, i + 1);
      CheckSet(listing->sets[i], Options());
    }
  }
}

TEST_P(SqlServerListing, ReadsAFewBlocksOfALargeMedium) {
  SqlServerMediumOptions options = Options();
  options.gap_bytes = 100ULL << 30;
  const SparseMedium medium = MakeSqlServerMedium(options);
  TestSource source(medium);

  const auto started = std::chrono::steady_clock::now();
  const Result<MediumListing> listing = ReadListing(source);
  const auto elapsed = std::chrono::steady_clock::now() - started;

  ASSERT_THAT(listing, IsOk());
  EXPECT_GT(medium.size(), 100ULL << 30);
  ASSERT_EQ(listing->sets.size(), options.sets);
  CheckSet(listing->sets.back(), options);
  EXPECT_LT(source.bytes_read, (256ULL << 10) * (options.sets + 1));
  EXPECT_LT(elapsed, std::chrono::seconds(1));
}

TEST_P(SqlServerListing, OfACutMediumShowsWhatIsLeftOrSaysWhy) {
  const SparseMedium whole = MakeSqlServerMedium(Options());
  if (Options().sets > 3) {
    GTEST_SKIP() << "the same with fewer sets";
  }
  for (std::size_t size = 0; size < whole.bytes.size(); size += 512) {
    SparseMedium cut{
        .bytes = {whole.bytes.begin(), whole.bytes.begin() + static_cast<std::ptrdiff_t>(size)}};
    TestSource source(cut);
    const Result<MediumListing> listing = ReadListing(source);
    if (!listing.ok()) {
      EXPECT_THAT(listing.status().reason(), ::testing::AnyOf(3241, 3254, 3208, 3256)) << size;
      continue;
    }
    const auto complete = std::count_if(listing->sets.begin(), listing->sets.end(),
                                        [](const SetListing& set) { return set.complete; });
    EXPECT_LT(complete, Options().sets) << size;
  }
}

TEST(SqlServerListing, FindsALongConfiguration) {
  for (const bool compressed : {false, true}) {
    const SparseMedium medium =
        MakeSqlServerMedium({.compressed = compressed, .extents = 0, .extra_files = 700});
    TestSource source(medium);
    const Result<MediumListing> listing = ReadListing(source);
    ASSERT_THAT(listing, IsOk());
    ASSERT_EQ(listing->sets.size(), 1U);
    EXPECT_TRUE(listing->sets[0].complete);
    EXPECT_EQ(listing->sets[0].foreign_set->files.size(), 702U);
  }
}

TEST(SqlServerListing, OfALogAndADifferentialNamesTheirKind) {
  const SparseMedium log = MakeSqlServerMedium({.type = 'L'});
  const SparseMedium differential = MakeSqlServerMedium({.checksums = true, .type = 'I'});
  TestSource log_source(log);
  TestSource differential_source(differential);

  const SetFacts of_log = ReadListing(log_source)->sets[0].foreign_set->facts;
  const SetFacts of_differential = ReadListing(differential_source)->sets[0].foreign_set->facts;

  EXPECT_EQ(of_log.type_description, "Transaction Log");
  EXPECT_EQ(of_log.begins_log_chain, true);
  EXPECT_EQ(of_log.recovery_model, "FULL");
  EXPECT_EQ(of_differential.backup_type, 5);
  EXPECT_EQ(of_differential.has_backup_checksums, true);
  EXPECT_EQ(of_differential.differential_base_lsn, "36000000001600001");
  EXPECT_TRUE(of_differential.differential_base_guid.has_value());
}

TEST(MediaPassword, OpensTheMediumAndNoOtherDoes) {
  // MD5 of "secret" in UTF-16LE.
  const std::string digest("\x09\x43\x3e\x18\x53\x38\x52\x70\xb5\x15\x11\x57\x1e\x35\xee\xca", 16);
  const SparseMedium medium = MakeSqlServerMedium({.media_password_md5 = digest});
  TestSource source(medium);
  const Result<MediaHeader> header = ReadLabel(source);
  ASSERT_THAT(header, IsOk());

  EXPECT_THAT(CheckMediaPassword(*header, "secret"), IsOk());
  EXPECT_THAT(CheckMediaPassword(*header, "Secret"), HasReason(3279));
  EXPECT_THAT(CheckMediaPassword(*header, ""), HasReason(3279));
  MediaHeader other_algorithm = *header;
  other_algorithm.password_algorithm = 6;
  EXPECT_THAT(CheckMediaPassword(other_algorithm, "secret"), HasReason(3279));
  EXPECT_THAT(CheckMediaPassword(MediaHeader(), "whatever"), IsOk());
}

}  // namespace
}  // namespace capstan::media::sqlserver
