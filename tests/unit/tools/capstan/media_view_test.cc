// Rows of RESTORE MEDIAMAP -> what `capstan media show` draws.
#include "tools/capstan/media_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

ResultSet MapOf(std::vector<Row> rows) {
  ResultSet map{.columns = {{"Device", "nvarchar(260)"},
                            {"MediumSize", "bigint"},
                            {"Kind", "nvarchar(20)"},
                            {"Offset", "bigint"},
                            {"Size", "bigint"},
                            {"Position", "smallint"},
                            {"Name", "nvarchar(128)"},
                            {"DatabaseName", "nvarchar(128)"},
                            {"BackupTypeDescription", "nvarchar(60)"},
                            {"Date", "datetime"},
                            {"Frames", "bigint"},
                            {"PayloadBytes", "bigint"},
                            {"StoredBytes", "bigint"},
                            {"State", "nvarchar(4000)"}},
                .rows = std::move(rows)};
  return map;
}

constexpr std::nullopt_t kNull = std::nullopt;

// A piece of a set of 'sales'.
Row Piece(const char* kind, std::uint64_t offset, std::uint64_t size, int position) {
  return {"/b/sales.bak",
          "716800",
          kind,
          std::to_string(offset),
          std::to_string(size),
          std::to_string(position),
          "nightly",
          "sales",
          "Database",
          "2026-11-21 09:00:02.000",
          kNull,
          kNull,
          kNull,
          kNull};
}

Row Frames(std::uint64_t offset, std::uint64_t size, int position) {
  Row row = Piece("frames", offset, size, position);
  row[10] = "3";
  row[11] = "819200";
  row[12] = "204800";
  row[13] = "sales, pages 0 to 99";
  return row;
}

Row Header() {
  return {
      "/b/sales.bak", "716800",
      "header",       "0",
      "8192",         kNull,
      "Nightly",      kNull,
      kNull,          "2026-11-21 09:00:00.000",
      kNull,          kNull,
      kNull,          "media set 10111213-1415-1617-1819-1A1B1C1D1E1F, family 1 of 2, compressed"};
}

Row Head(std::uint64_t offset, int position) {
  Row row = Piece("set head", offset, 8192, position);
  row[13] = "ZSTD";
  return row;
}

ResultSet TwoSets() {
  return MapOf({Header(), Head(8192, 1), Frames(16384, 340000, 1),
                Piece("set end", 356384, 2016, 1), Head(358400, 2), Frames(366592, 350208, 2)});
}

TEST(MediaView, DrawsAMediumWithItsSets) {
  EXPECT_TRUE(IsSound(TwoSets()));
  EXPECT_EQ(DrawMedium(TwoSets(), false),
            R"(/b/sales.bak  700.0 KiB  "Nightly"  2026-11-21 09:00:00
media set 10111213-1415-1617-1819-1A1B1C1D1E1F, family 1 of 2, compressed

  [=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB]
  = header   A set 1   B set 2

set database type date                offset      size frames ratio state
--- -------- ---- ---------------- --------- --------- ------ ----- --------------
A 1 sales    full 2026-11-21 09:00   8.0 KiB 342.0 KiB      3   4.0 complete, ZSTD
B 2 sales    full 2026-11-21 09:00 350.0 KiB 350.0 KiB      3   4.0 complete, ZSTD

)");
}

TEST(MediaView, ShowsVoidFramesAsNothingThatIsWrong) {
  ResultSet map = TwoSets();
  map.rows[2] = Frames(16384, 140000, 1);
  Row no_frames = Piece("void frames", 156384, 200000, 1);
  no_frames[13] = "read anew";
  map.rows.insert(map.rows.begin() + 3, no_frames);

  const std::string text = DrawMedium(map, true);

  EXPECT_TRUE(IsSound(map));
  EXPECT_THAT(text, HasSubstr("  [=AAAAAAAAAAAAAA--------------------BBBB"));
  EXPECT_THAT(text, HasSubstr("  = header   A set 1   B set 2   - void\n"));
  EXPECT_THAT(text, HasSubstr(" complete, ZSTD\n"));
  EXPECT_THAT(text, HasSubstr(" void frames "));
}

TEST(MediaView, SaysWhatIsWrongAndWhatToDo) {
  ResultSet map = TwoSets();
  map.rows.pop_back();
  Row unfinished = Piece("unfinished set", 358400, 358400, 2);
  unfinished[10] = "7";
  map.rows.back() = unfinished;
  Row damage = Piece("damage", 356384, 2016, 1);
  damage[13] = "the index of the frames";
  map.rows[3] = damage;

  const std::string text = DrawMedium(map, false);

  EXPECT_FALSE(IsSound(map));
  EXPECT_THAT(text, HasSubstr("  [=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!~~~"));
  EXPECT_THAT(text, HasSubstr("  = header   A set 1   B set 2   ~ unfinished   ! damaged\n"));
  EXPECT_THAT(text, HasSubstr(" damaged, ZSTD\n"));
  EXPECT_THAT(text, HasSubstr(" unfinished\n"));
  EXPECT_THAT(text, HasSubstr(R"(
damage, set 1, at byte 356384, 2.0 KiB: the index of the frames
HINT: 'capstan verify --from /b/sales.bak --file 1' says what of the set is lost
unfinished set, set 2, at byte 358400, 350.0 KiB, 7 frames
HINT: that backup did not end; the next one to this medium takes its place
)"));
}

TEST(MediaView, FindsHolesAndUnknownBytesWrongButNotFreeOnes) {
  Row tail = Header();
  tail[3] = "8192";
  for (const auto& [kind, hint] : {std::pair{"hole", "did not come to be written"},
                                   std::pair{"damage", "nothing can be appended"}}) {
    tail[2] = kind;
    EXPECT_FALSE(IsSound(MapOf({Header(), tail}))) << kind;
    EXPECT_THAT(DrawMedium(MapOf({Header(), tail}), false), HasSubstr(hint));
  }
  tail[2] = "free";
  EXPECT_TRUE(IsSound(MapOf({Header(), tail})));
  EXPECT_THAT(DrawMedium(MapOf({Header(), tail}), false), Not(HasSubstr("HINT")));
  EXPECT_THAT(DrawMedium(MapOf({Header(), tail}), false),
              HasSubstr("There is no backup set on it."));
}

TEST(MediaView, DrawsNoBarOfAMediumWithoutPlaces) {
  Row header = Header();
  Row set = Frames(0, 0, 1);
  for (Row* const row : {&header, &set}) {
    (*row)[1] = (*row)[3] = (*row)[4] = kNull;
  }
  const std::string text = DrawMedium(MapOf({header, set}), false);

  EXPECT_THAT(text, Not(HasSubstr("[")));
  EXPECT_THAT(text, HasSubstr("is not known without reading all of it"));
  EXPECT_THAT(text, HasSubstr("A 1 sales    full 2026-11-21 09:00      -    -      3   4.0"));
}

TEST(MediaView, ListsTheBlocksToo) {
  EXPECT_THAT(DrawMedium(TwoSets(), true),
              HasSubstr("\n16384   340000 frames   1   3      819200  204800 sales, pages"));
}

TEST(MediaView, ShowsNoControlCharacters) {
  Row header = Header();
  header[0] = "/b/\x1b[2Jx";
  header[6] = "a\nb";
  Row damage = Piece("damage", 8192, 4096, 1);
  damage[7] = "\x1b]0;x\x07";
  damage[13] = "\x1b[31m";
  for (const char byte : DrawMedium(MapOf({header, damage}), true)) {
    EXPECT_TRUE(byte == '\n' || (byte >= 0x20 && byte != 0x7F) || byte < 0) << int{byte};
  }
}

TEST(MediaView, HasALetterForEverySetAndLinesThatFit) {
  std::vector<Row> rows = {Header()};
  for (int position = 1; position <= 60; ++position) {
    rows.push_back(Head(static_cast<std::uint64_t>(position) * 8192, position));
  }
  const std::string text = DrawMedium(MapOf(rows), false);

  EXPECT_THAT(text, HasSubstr("z set 52"));
  EXPECT_THAT(text, HasSubstr("A set 53"));
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    EXPECT_LE(DisplayWidth(text.substr(at, end - at)), 92);
    at = end + 1;
  }
}

}  // namespace
}  // namespace capstan::cli
