#include "server/media/sqlserver/container.h"

#include <gtest/gtest.h>

#include "tests/unit/server/media/sqlserver/media_source.h"

namespace capstan::media::sqlserver {
namespace {

using test::HasReason;
using test::IsOk;

Status ReadAll(const test::SparseMedium& medium, ByteVector* content) {
  TestSource container(medium, TestSource::Access::kForward);
  UnpackedSource source(&container);
  ByteVector piece(1000);
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::size_t filled, source.ReadAt(content->size(), piece));
    AppendBytes(content, Bytes(piece).first(filled));
    if (filled < piece.size()) {
      return OkStatus();
    }
  }
}

TEST(Container, HoldsTheMediumThatWouldBeThereWithoutIt) {
  ByteVector unpacked;
  ASSERT_THAT(ReadAll(test::MakeSqlServerMedium({.compressed = true}), &unpacked), IsOk());
  const test::SparseMedium plain = test::MakeSqlServerMedium({});

  // Places and sizes differ, page data do not.
  EXPECT_EQ(unpacked.size(), plain.bytes.size());
  EXPECT_TRUE(
      std::equal(unpacked.begin() + 16384, unpacked.begin() + 131072, plain.bytes.begin() + 16384));
}

TEST(Container, IsNotReadBackwards) {
  const test::SparseMedium medium = test::MakeSqlServerMedium({.compressed = true});
  TestSource container(medium);
  UnpackedSource source(&container);
  ByteVector piece(100);
  ASSERT_THAT(source.ReadAt(100000, piece), IsOk());

  EXPECT_THAT(source.ReadAt(0, piece), test::HasCode(Code::kInternal));
}

TEST(Container, OfUnknownRecordsIsAFeatureThatIsNotKnown) {
  test::SparseMedium medium = test::MakeSqlServerMedium({.compressed = true});
  medium.bytes[kFirstRecord] = std::byte{0x55};
  ByteVector content;

  EXPECT_THAT(ReadAll(medium, &content), HasReason(3239));
}

TEST(Container, FindsARecordThatIsSpoiled) {
  const test::SparseMedium whole = test::MakeSqlServerMedium({.compressed = true});
  for (const std::size_t offset : {std::size_t{0x1E2}, std::size_t{0x1F8}, std::size_t{0x200}}) {
    test::SparseMedium spoiled = whole;
    spoiled.bytes[offset] ^= std::byte{1};
    ByteVector content;
    EXPECT_THAT(ReadAll(spoiled, &content), HasReason(3241)) << offset;
  }
}

}  // namespace
}  // namespace capstan::media::sqlserver
