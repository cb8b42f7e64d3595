// Verification of media that are as they should be, and of sets that are not all there.
#include "server/media/sqlserver/verifier.h"

#include <gtest/gtest.h>

#include "tests/unit/server/media/sqlserver/media_source.h"

namespace capstan::media::sqlserver {
namespace {

using Access = TestSource::Access;
using test::HasReason;
using test::IsOk;
using test::MakeSqlServerMedium;
using test::SparseMedium;
using test::SqlServerMediumOptions;

Result<FamilyFindings> Verify(const SparseMedium& medium, std::uint16_t position = 1) {
  TestSource source(medium, Access::kForward);
  return VerifyFamily(source, {.position = position});
}

Status VerifyAlone(const SparseMedium& medium, std::uint16_t position = 1) {
  CAPSTAN_ASSIGN_OR_RETURN(const FamilyFindings findings, Verify(medium, position));
  return VerifyTogether({findings});
}

TEST(SqlServerVerifier, FindsNothingWrongWithAnyForm) {
  for (const int major : {9, 10, 11, 13, 15, 17}) {
    for (const std::uint32_t mark_size : {512U, 4096U}) {
      for (const bool compressed : {false, major >= 10}) {  // there was none in 9
        for (const char type : {'D', 'I', 'L'}) {
          const SparseMedium medium = MakeSqlServerMedium({.major = major,
                                                           .mark_size = mark_size,
                                                           .compressed = compressed,
                                                           .checksums = major % 2 == 1,
                                                           .type = type});
          EXPECT_THAT(VerifyAlone(medium), IsOk())
              << major << ' ' << mark_size << ' ' << compressed << ' ' << type;
        }
      }
    }
  }
}

TEST(SqlServerVerifier, GoesToTheSetThatIsAskedFor) {
  for (const bool compressed : {false, true}) {
    const SparseMedium medium = MakeSqlServerMedium({.compressed = compressed, .sets = 3});
    for (std::uint16_t position = 1; position <= 3; ++position) {
      const Result<FamilyFindings> findings = Verify(medium, position);
      ASSERT_THAT(findings, IsOk()) << position;
      EXPECT_EQ(findings->set.position, position);
    }
    EXPECT_THAT(Verify(medium, 4), HasReason(3287));
  }
}

TEST(SqlServerVerifier, ReportsProgressAndStopsWhenToldTo) {
  const SparseMedium medium = MakeSqlServerMedium({.extents = 64});
  TestSource source(medium);
  std::uint64_t last = 0;
  ASSERT_THAT(VerifyFamily(source, {.on_progress =
                                        [&](std::uint64_t bytes) {
                                          EXPECT_GT(bytes, last);
                                          last = bytes;
                                          return OkStatus();
                                        }}),
              IsOk());
  EXPECT_GT(last, medium.size() / 2);

  TestSource again(medium);
  EXPECT_THAT(
      VerifyFamily(again,
                   {.on_progress = [](std::uint64_t) { return Error(Code::kCancelled, "stop"); }}),
      test::HasCode(Code::kCancelled));
}

TEST(SqlServerVerifier, WantsThePassword) {
  const std::string digest("\x09\x43\x3e\x18\x53\x38\x52\x70\xb5\x15\x11\x57\x1e\x35\xee\xca", 16);
  const SparseMedium medium = MakeSqlServerMedium({.media_password_md5 = digest});
  TestSource source(medium);
  TestSource again(medium);

  EXPECT_THAT(VerifyFamily(source, {.media_password = "wrong"}), HasReason(3279));
  EXPECT_THAT(VerifyFamily(again, {.media_password = "secret"}), IsOk());
}

TEST(SqlServerVerifier, IsNotForOtherMedia) {
  EXPECT_THAT(Verify(SparseMedium{}), HasReason(3254));
  EXPECT_THAT(Verify(SparseMedium{.bytes = std::vector<std::byte>(4096)}), HasReason(3242));
}

class Stripes : public ::testing::Test {
 protected:
  Stripes() {
    SqlServerMediumOptions options{.family_count = 2};
    const std::uint64_t one = MakeSqlServerMedium(options).data_size - options.mark_size;
    options.expected_size = 2 * one;
    media_.push_back(MakeSqlServerMedium(options));
    options.family_number = 2;
    media_.push_back(MakeSqlServerMedium(options));
    for (const SparseMedium& medium : media_) {
      findings_.push_back(Verify(medium).value());
    }
  }

  std::vector<SparseMedium> media_;
  std::vector<FamilyFindings> findings_;
};

TEST_F(Stripes, MakeUpASetInAnyOrder) {
  EXPECT_THAT(VerifyTogether({findings_[0], findings_[1]}), IsOk());
  EXPECT_THAT(VerifyTogether({findings_[1], findings_[0]}), IsOk());
}

TEST_F(Stripes, MustAllBeThere) {
  EXPECT_THAT(VerifyTogether({findings_[1]}), HasReason(3132));
}

TEST_F(Stripes, CountOnce) {
  EXPECT_THAT(VerifyTogether({findings_[0], findings_[0]}), HasReason(3227));
}

TEST_F(Stripes, AreOfOneSet) {
  FamilyFindings other = findings_[1];
  other.facts.facts.backup_set_guid = Guid::Random();
  EXPECT_THAT(VerifyTogether({findings_[0], other}), HasReason(3258));
  other = findings_[1];
  other.header.media_set_id = Guid::Random();
  EXPECT_THAT(VerifyTogether({findings_[0], other}), HasReason(3258));
}

TEST_F(Stripes, AreAsLargeAsTheSetSays) {
  FamilyFindings other = findings_[1];
  other.data_size -= 1024;
  EXPECT_THAT(VerifyTogether({findings_[0], other}), HasReason(3189));
  other = findings_[1];
  other.pages = 0;
  findings_[0].pages = 8;
  EXPECT_THAT(VerifyTogether({findings_[0], other}), HasReason(3189));
}

}  // namespace
}  // namespace capstan::media::sqlserver
