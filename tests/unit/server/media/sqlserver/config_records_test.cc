#include "server/media/sqlserver/config_records.h"

#include <gtest/gtest.h>

#include "server/media/block_composer.h"

namespace capstan::media::sqlserver {
namespace {

ByteVector Configuration() {
  ByteVector bytes;
  const SetRecord set{.head = {kSetRecord, sizeof(SetRecord)}, .major = 13, .type = 'D'};
  AppendBytes(&bytes, AsBytes(set));
  const FilegroupRecord group{.head = {kFilegroupRecord, sizeof(FilegroupRecord)},
                              .filegroup_id = 1};
  AppendBytes(&bytes, AsBytes(group));
  const FileRecord file{.head = {kFileRecord, sizeof(FileRecord)}, .type = kFileData};
  AppendBytes(&bytes, AsBytes(file));
  return bytes;
}

bool Parses(Bytes content) {
  ForeignSet set;
  return ParseConfiguration(content, ConfigurationPlace::kEnd, &set);
}

TEST(Lsn, IsPrintedAsOneNumber) {
  EXPECT_EQ(LsnText({.vlf = 37, .block = 430, .slot = 37}), "37000000043000037");
  EXPECT_EQ(LsnText({}), "0");
  EXPECT_EQ(LsnText({.slot = 5}), "5");
  EXPECT_EQ(LsnText({.vlf = 4294967295, .block = 4294967295, .slot = 65535}),
            "4294967295429496729565535");
}

TEST(ConfigurationRecords, MustTileTheStream) {
  const ByteVector whole = Configuration();
  ASSERT_TRUE(Parses(whole));

  for (std::size_t size = 0; size < whole.size(); ++size) {
    const bool at_record_end =
        size == sizeof(SetRecord) || size == sizeof(SetRecord) + sizeof(FilegroupRecord);
    EXPECT_EQ(Parses(Bytes(whole).first(size)), at_record_end) << size;
  }
}

TEST(ConfigurationRecords, AreNotBelievedTheirLengths) {
  for (const std::uint32_t length : {0U, 7U, 8U, 343U, 345U, 0xFFFFFFFFU}) {
    ByteVector bytes = Configuration();
    std::memcpy(bytes.data() + 4, &length, sizeof(length));
    EXPECT_FALSE(Parses(bytes)) << length;
  }
}

TEST(ConfigurationRecords, AreLeftAsTheyWereIfOneIsMalformed) {
  ByteVector bytes = Configuration();
  bytes.resize(bytes.size() - 1);
  ForeignSet set{.facts = {.name = "before"}};

  EXPECT_FALSE(ParseConfiguration(bytes, ConfigurationPlace::kEnd, &set));
  EXPECT_EQ(set.facts.name, "before");
  EXPECT_FALSE(set.facts.software_major.has_value());
}

TEST(ConfigurationRecords, FromTheStartOfASetSayNothingOfItsOutcome) {
  ForeignSet set;
  ASSERT_TRUE(ParseConfiguration(Configuration(), ConfigurationPlace::kStart, &set));

  EXPECT_FALSE(set.final_known);
  EXPECT_EQ(set.facts.software_major, 13);
  EXPECT_FALSE(set.facts.backup_size.has_value());
  EXPECT_FALSE(set.facts.last_lsn.has_value());
  EXPECT_FALSE(set.files.front().backup_size.has_value());
}

TEST(RaidStreamOfTape, IsCheckedBeforeItIsBelieved) {
  const RaidStream right{.family_count = 2, .mirror_count = 1, .family_number = 2};
  RaidStream no_magic = right;
  no_magic.magic = 1;
  RaidStream third_of_two = right;
  third_of_two.family_number = 3;
  MediaHeader header;

  EXPECT_FALSE(ParseRaid(AsBytes(no_magic), &header));
  EXPECT_FALSE(ParseRaid(AsBytes(third_of_two), &header));
  EXPECT_FALSE(ParseRaid(AsBytes(right).first(31), &header));
  EXPECT_EQ(header.family_count, 1);
  EXPECT_TRUE(ParseRaid(AsBytes(right), &header));
  EXPECT_EQ(header.family_count, 2);
  EXPECT_EQ(header.family_number, 2);
}

}  // namespace
}  // namespace capstan::media::sqlserver
