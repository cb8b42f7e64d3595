#include "server/writers/postgres/bundle.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace capstan::writers {
namespace {

using test::HasCode;
using test::IsOk;

std::vector<std::byte> Bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> MakeExtent(const std::vector<BundleEntry>& entries,
                                  std::string_view payload) {
  BundleBuilder builder(64 << 10);
  for (const BundleEntry& entry : entries) {
    builder.Add(entry);
  }
  std::vector<std::byte> extent = Bytes(payload);
  const std::vector<std::byte> directory = builder.TakeDirectory();
  extent.insert(extent.end(), directory.begin(), directory.end());
  return extent;
}

std::vector<std::byte> SampleExtent() {
  return MakeExtent(
      {{.mode = 0600, .path = "PG_VERSION", .length = 3},
       {.mode = 0640, .path = "base/5/1259", .offset = 8192, .length = 4},
       {.kind = BundleEntry::Kind::kZeros, .path = "base/5/1259", .offset = 16384, .length = 8192},
       {.path = "base/5/empty"},
       {.kind = BundleEntry::Kind::kManifest, .offset = 7, .length = 2}},
      "15\npagemf");
}

TEST(Bundle, ComesBackAsItWentIn) {
  const std::vector<std::byte> extent = SampleExtent();

  const auto parts = DecodeBundle(extent);

  ASSERT_THAT(parts, IsOk());
  ASSERT_EQ(parts->size(), 5U);
  EXPECT_EQ((*parts)[0].entry.path, "PG_VERSION");
  EXPECT_EQ((*parts)[1].entry.mode, 0640);
  EXPECT_EQ((*parts)[1].entry.offset, 8192U);
  EXPECT_TRUE(std::ranges::equal((*parts)[1].bytes, Bytes("page")));
  EXPECT_EQ((*parts)[2].entry.length, 8192U);
  EXPECT_TRUE((*parts)[2].bytes.empty());
  EXPECT_EQ((*parts)[3].entry.length, 0U);
  EXPECT_EQ((*parts)[4].entry.kind, BundleEntry::Kind::kManifest);
  EXPECT_TRUE(std::ranges::equal((*parts)[4].bytes, Bytes("mf")));
}

TEST(Bundle, IsRefusedWithoutItsLastOrFirstBytes) {
  const std::vector<std::byte> extent = SampleExtent();

  for (std::size_t size = 0; size < extent.size(); ++size) {
    EXPECT_THAT(DecodeBundle(std::span(extent).first(size)), HasCode(Code::kDataLoss)) << size;
    EXPECT_THAT(DecodeBundle(std::span(extent).last(size)), HasCode(Code::kDataLoss)) << size;
  }
}

TEST(Bundle, WithAnyBitFlippedLeadsNowhereElse) {
  const std::vector<std::byte> extent = SampleExtent();

  for (std::size_t bit = 0; bit < extent.size() * 8; ++bit) {
    std::vector<std::byte> flipped = extent;
    flipped[bit / 8] ^= std::byte{1} << static_cast<int>(bit % 8);
    if (const auto parts = DecodeBundle(flipped); parts.ok()) {
      for (const BundlePart& part : *parts) {
        EXPECT_TRUE(part.entry.path.empty() || IsBundlePath(part.entry.path));
        EXPECT_EQ(part.bytes.size(), part.entry.payload_length());
      }
    }
  }
}

TEST(Bundle, PathsStayBelowTheirFolder) {
  for (const char* path : {"a", "base/5/1259", "..a/b..", "pg_wal/0001", "a b"}) {
    EXPECT_TRUE(IsBundlePath(path)) << path;
  }
  for (const char* path :
       {"", "/", "/etc/passwd", "..", "../a", "a/../b", "a/..", ".", "a/./b", "a//b", "a/"}) {
    EXPECT_FALSE(IsBundlePath(path)) << path;
  }
  EXPECT_FALSE(IsBundlePath(std::string_view("a\0b", 3)));
  EXPECT_TRUE(IsBundlePath(std::string(kBundlePathMax, 'a')));
  EXPECT_FALSE(IsBundlePath(std::string(kBundlePathMax + 1, 'a')));
}

// The path of the first entry is rewritten in place, as an attacker with the medium could.
TEST(Bundle, IsRefusedWithAPathThatLeadsElsewhere) {
  const std::string good = "aa/b";
  const std::vector<std::byte> extent = MakeExtent({{.path = good, .length = 1}}, "x");
  const std::vector<std::byte> needle = Bytes(good);

  for (const std::string_view bad : {"/a/b", "../b", "aa/.", "a//b"}) {
    std::vector<std::byte> changed = extent;
    const auto place = std::search(changed.begin(), changed.end(), needle.begin(), needle.end());
    std::ranges::copy(Bytes(bad), place);
    EXPECT_THAT(DecodeBundle(changed), HasCode(Code::kDataLoss)) << bad;
  }
}

TEST(Bundle, OfAnotherVersionIsRefused) {
  std::vector<std::byte> extent = SampleExtent();
  extent[extent.size() - 12] = std::byte{2};

  EXPECT_THAT(DecodeBundle(extent), HasCode(Code::kUnimplemented));
}

TEST(BundleBuilder, FillsAnExtentToItsLastByte) {
  BundleBuilder builder(kBundleLengthMin);
  const std::string path = "base/5/1259";
  builder.Add({.path = path, .length = 100});
  const auto room = builder.RoomFor(path);
  ASSERT_TRUE(room.has_value());
  builder.Add({.path = path, .offset = 100, .length = *room});

  EXPECT_EQ(builder.RoomFor(path), std::nullopt);
  EXPECT_EQ(builder.payload_length() + builder.TakeDirectory().size(), kBundleLengthMin);
}

}  // namespace
}  // namespace capstan::writers
