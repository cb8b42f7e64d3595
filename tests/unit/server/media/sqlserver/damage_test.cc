// Every bit of a medium of SQL Server that its format protects, flipped; and every cut. What the
// format leaves unprotected is named here, and nothing else may pass.
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "server/media/mtf_values.h"
#include "server/media/sqlserver/sqlserver_layout.h"
#include "server/media/sqlserver/verifier.h"
#include "tests/unit/server/media/sqlserver/media_source.h"

namespace capstan::media::sqlserver {
namespace {

using test::HasReason;
using test::IsOk;
using test::MakeSqlServerMedium;
using test::SparseMedium;
using test::SqlServerMediumOptions;

Status Verify(const SparseMedium& medium) {
  TestSource source(medium);
  CAPSTAN_ASSIGN_OR_RETURN(const FamilyFindings findings, VerifyFamily(source, {}));
  return VerifyTogether({findings});
}

// Byte ranges of a plain medium that nothing covers: fields of blocks behind the common header that
// are said once, configurations as far as both do not say the same, padding of data, log and pages
// of a set without CHECKSUM.
class UnprotectedBytes {
 public:
  UnprotectedBytes(const SparseMedium& medium, bool checksums) {
    std::uint64_t at = 0;
    std::uint64_t origin = 0;
    const Bytes bytes = medium.bytes;
    while (at < bytes.size()) {
      const auto block = LoadStruct<BlockHeader>(bytes.subspan(at));
      const std::uint64_t body = at + sizeof(BlockHeader);
      at += block.first_event_offset;
      if (block.type == BlockType::kSoftFilemark) {
        origin = at;
        continue;
      }
      Add(body, at);
      while (true) {
        at = origin + RoundUp(at - origin, 4);
        const auto stream = LoadStruct<StreamHeader>(bytes.subspan(at));
        at += sizeof(stream);
        const bool data = stream.type == kPages || stream.type == kLog;
        if ((data && !checksums) || stream.type == kAlign || stream.type == kConfiguration ||
            stream.type == kRaid || stream.type == StreamType::kSetMap) {
          Add(at, at + stream.length);
        }
        at += stream.length;
        if (stream.type == StreamType::kPad) {
          break;
        }
      }
    }
  }
  bool Contains(std::uint64_t offset) const {
    const auto next = ranges_.upper_bound(offset);
    return next != ranges_.begin() && offset < std::prev(next)->second;
  }
  std::uint64_t size() const { return size_; }

 private:
  void Add(std::uint64_t from, std::uint64_t to) {
    ranges_[from] = to;
    size_ += to - from;
  }
  std::map<std::uint64_t, std::uint64_t> ranges_;
  std::uint64_t size_ = 0;
};

void FlipEverywhere(const SqlServerMediumOptions& options) {
  SparseMedium medium = MakeSqlServerMedium(options);
  ASSERT_THAT(Verify(medium), IsOk());
  const UnprotectedBytes unprotected(medium, options.checksums);
  std::mt19937 random(42);
  int passed = 0;
  for (std::size_t at = 0; at < medium.bytes.size();) {
    const auto bit = static_cast<std::byte>(1 << random() % 8);
    medium.bytes[at] ^= bit;
    const Status status = Verify(medium);
    if (status.ok()) {
      EXPECT_TRUE(unprotected.Contains(at)) << "byte " << at;
      ++passed;
    } else {
      EXPECT_THAT(status.reason(),
                  ::testing::AnyOf(3241, 3242, 3243, 3256, 3189, 65004, 3143, 3279, 3132, 3287))
          << "byte " << at << ' ' << status.ToString();
    }
    medium.bytes[at] ^= bit;
    // Every byte around blocks, a few of the data in between.
    const bool in_data = unprotected.Contains(at) || at % 8192 > 2048;
    at += in_data ? 1 + random() % 997 : 1;
  }
  EXPECT_GT(passed, 0);
}

TEST(SqlServerDamage, IsFoundWhereverTheFormatProtects) {
  FlipEverywhere({.major = 9, .extents = 1});
  FlipEverywhere({.major = 13, .checksums = true, .extents = 1});
  FlipEverywhere({.major = 17, .mark_size = 4096, .checksums = true, .type = 'I', .extents = 1});
}

TEST(SqlServerDamage, OfAContainerIsFoundButInWhatIsUndefined) {
  SparseMedium medium = MakeSqlServerMedium({.compressed = true, .extents = 1});
  ASSERT_THAT(Verify(medium), IsOk());
  std::mt19937 random(43);
  int passed = 0;
  int flips = 0;
  for (std::size_t at = 0; at < medium.bytes.size(); at += 1 + random() % 23, ++flips) {
    const auto bit = static_cast<std::byte>(1 << random() % 8);
    medium.bytes[at] ^= bit;
    passed += Verify(medium).ok();
    medium.bytes[at] ^= bit;
  }
  // The header of the file, 20 bytes of each record's, fillers, and the index, which is not needed.
  EXPECT_LT(passed, flips / 3);
}

TEST(SqlServerDamage, OfDataIsFoundByTheChecksumOfTheSet) {
  SparseMedium medium = MakeSqlServerMedium({.checksums = true, .extents = 2});
  std::mt19937 random(44);
  for (int i = 0; i < 200; ++i) {
    const std::size_t at = 16384 + random() % 100000;
    const auto bit = static_cast<std::byte>(1 << random() % 8);
    medium.bytes[at] ^= bit;
    EXPECT_FALSE(Verify(medium).ok()) << at;
    medium.bytes[at] ^= bit;
  }
  medium.bytes[20000] ^= std::byte{1};
  const Status status = Verify(medium);
  EXPECT_THAT(status, HasReason(65004));
  EXPECT_NE(status.message().find("'dev'"), std::string::npos) << status.message();
  TestSource source(medium);
  EXPECT_THAT(VerifyFamily(source, {.check_sums = false}), IsOk());  // NO_CHECKSUM
}

TEST(SqlServerDamage, IsFoundInPagesThatCannotBeWhereTheyAre) {
  SparseMedium medium = MakeSqlServerMedium({.extents = 1});
  // Page ids of all eight pages of the extent: behind the APAD, on a boundary of 1024.
  std::size_t first = 0;
  for (std::size_t at = 0; first == 0; at += 512) {
    const auto page = LoadStruct<PageHead>(Bytes(medium.bytes).subspan(at + 8192));
    if (page.version == 1 && page.page_id == 1 && page.file_id == 1) first = at;
  }
  for (std::size_t i = 0; i < 8; ++i) {
    medium.bytes[first + i * kPageSize + 32] ^= std::byte{5};
  }
  EXPECT_THAT(Verify(medium), HasReason(65004));
}

TEST(SqlServerDamage, OfACutIsAlwaysFound) {
  for (const bool compressed : {false, true}) {
    const SparseMedium whole = MakeSqlServerMedium({.compressed = compressed, .extents = 1});
    for (std::size_t size = 0; size < whole.bytes.size(); size += 512) {
      const SparseMedium cut{
          .bytes = {whole.bytes.begin(), whole.bytes.begin() + static_cast<std::ptrdiff_t>(size)}};
      EXPECT_FALSE(Verify(cut).ok()) << size;
    }
  }
}

TEST(SqlServerDamage, OfBlocksThatAreLeftOutOrExchangedIsFound) {
  const SparseMedium whole = MakeSqlServerMedium({.extents = 1});
  for (std::size_t at = 1024; at + 2048 < whole.bytes.size(); at += 1024) {
    SparseMedium shorter = whole;
    shorter.bytes.erase(shorter.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                        shorter.bytes.begin() + static_cast<std::ptrdiff_t>(at + 1024));
    EXPECT_FALSE(Verify(shorter).ok()) << at;
  }
}

}  // namespace
}  // namespace capstan::media::sqlserver
