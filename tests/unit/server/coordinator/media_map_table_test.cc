// RESTORE MEDIAMAP's rows.
#include "server/coordinator/media_map_table.h"

#include <gtest/gtest.h>

namespace capstan::coordinator {
namespace {

using media::PieceKind;
using Row = std::vector<std::optional<std::string>>;

media::MediumMap MapOfOneSet() {
  media::MediumMap map;
  map.listing.size_bytes = 100000;
  map.listing.header.name = "Nightly";
  map.listing.header.family_number = 2;
  map.listing.header.family_count = 3;
  map.listing.header.encrypted = true;
  map.listing.sets.emplace_back();
  media::BackupSet& set = map.listing.sets[0].set;
  set.position = 4;
  set.database_name = "sales";
  set.compression_algorithm = "LZ4";
  set.files = {{.logical_name = "data", .page_size = 4096}, {.logical_name = "wal"}};
  map.pieces = {{.kind = PieceKind::kHeader, .offset = 0, .size = 8192},
                {.kind = PieceKind::kSetHead, .offset = 8192, .size = 4096, .set = 0},
                {.kind = PieceKind::kFrames,
                 .offset = 12288,
                 .size = 80000,
                 .set = 0,
                 .frames = 2,
                 .payload_bytes = 90000,
                 .stored_bytes = 70000,
                 .range = media::FileRange{.file_index = 0, .begin = 8192, .end = 16384}},
                {.kind = PieceKind::kDamage, .offset = 92288, .size = 7712, .remark = "odd bytes"}};
  return map;
}

TEST(MediaMapTable, HasARowPerPiece) {
  catalog::Table table = EmptyMediaMapTable();
  AddMediaMap("/b/1.bak", MapOfOneSet(), &table);

  ASSERT_EQ(table.columns.size(), 14U);
  ASSERT_EQ(table.rows.size(), 4U);
  const auto none = std::nullopt;
  EXPECT_EQ(table.rows[0],
            (Row{"/b/1.bak", "100000", "header", "0", "8192", none, "Nightly", none, none, none,
                 none, none, none,
                 "media set 00000000-0000-0000-0000-000000000000, family 2 of 3, encrypted"}));
  EXPECT_EQ(table.rows[1][13], "LZ4");
  EXPECT_EQ(table.rows[2],
            (Row{"/b/1.bak", "100000", "frames", "12288", "80000", "4", none, "sales", "Database",
                 none, "2", "90000", "70000", "data, pages 2 to 3"}));
  EXPECT_EQ(table.rows[3][2], "damage");
  EXPECT_EQ(table.rows[3][13], "odd bytes");
}

TEST(MediaMapTable, HasAWordForVoidFrames) {
  media::MediumMap map = MapOfOneSet();
  map.pieces[2] = {.kind = PieceKind::kVoidFrames,
                   .offset = 12288,
                   .size = 80000,
                   .set = 0,
                   .frames = 2,
                   .payload_bytes = 0,
                   .stored_bytes = 0,
                   .remark = "read anew"};
  catalog::Table table = EmptyMediaMapTable();
  AddMediaMap("/b/1.bak", map, &table);

  EXPECT_EQ(table.rows[2],
            (Row{"/b/1.bak", "100000", "void frames", "12288", "80000", "4", std::nullopt, "sales",
                 "Database", std::nullopt, "2", "0", "0", "read anew"}));
}

TEST(MediaMapTable, SaysNothingThatTheMediumDoesNot) {
  media::MediumMap map = MapOfOneSet();
  map.listing.size_bytes = 0;
  map.listing.header.by_other_program = true;
  map.listing.header.software_name = "Other";
  map.listing.sets[0].foreign_set.emplace().password_protected = true;
  map.pieces[1].kind = PieceKind::kForeignSet;
  map.pieces[1].offset.reset();
  catalog::Table table = EmptyMediaMapTable();
  AddMediaMap("/b/1.bak", map, &table);

  EXPECT_EQ(table.rows[0][1], std::nullopt);
  EXPECT_EQ(table.rows[0][13], "encrypted, written by Other");
  EXPECT_EQ(table.rows[1][3], std::nullopt);
  EXPECT_EQ(table.rows[1][6], "***Password Protected***");
  EXPECT_EQ(table.rows[1][7], std::nullopt);
}

}  // namespace
}  // namespace capstan::coordinator
