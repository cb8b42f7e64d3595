#include "server/media/mtf_values.h"

#include <string>

#include <gtest/gtest.h>

#include "server/media/block_composer.h"
#include "server/media/family_writer.h"

namespace capstan::media {
namespace {

TEST(Crc32c, IsTheStandardOne) {
  const std::string digits = "123456789";
  const Bytes bytes = std::as_bytes(std::span(digits));

  EXPECT_EQ(Crc32c(0, bytes), 0xE3069283U);
  EXPECT_EQ(Crc32c(Crc32c(0, bytes.first(4)), bytes.subspan(4)), 0xE3069283U);
  EXPECT_EQ(Crc32c(0, {}), 0U);
}

// Headers as SQL Server wrote them.
TEST(HeaderChecksum, IsThatOfRealMedia) {
  BlockHeader tape{.type = BlockType::kTape, .attributes = 0x00030000, .first_event_offset = 0x8C};
  tape.string_type = 2;
  EXPECT_EQ(HeaderChecksum(tape), 0x0587);
  BlockHeader set{.type = BlockType::kSet, .first_event_offset = 0xA4};
  set.os_data = {.size = 0x15, .offset = 0x64};
  set.string_type = 2;
  EXPECT_EQ(HeaderChecksum(set), 0x06CF);
  BlockHeader mark{.type = BlockType::kSoftFilemark, .first_event_offset = 0x200};
  EXPECT_EQ(HeaderChecksum(mark), 0x0710);
  mark.attributes = kFilemarkSqlLayout;
  EXPECT_EQ(HeaderChecksum(mark), 0x8710);
  const BlockHeader end{.type = BlockType::kEndOfSet, .first_event_offset = 0x58};
  EXPECT_EQ(HeaderChecksum(end), 0x0656);
  EXPECT_EQ(MakeStreamHeader(StreamType::kPad, 0x326).checksum, 0x1734);
  EXPECT_EQ(MakeStreamHeader(static_cast<StreamType>(FourCc("RAID")), 32).checksum, 0x053B);
}

TEST(HeaderIsSound, RefusesZerosThoughTheirChecksumIsRight) {
  EXPECT_FALSE(HeaderIsSound(LoadStruct<BlockHeader>(ByteVector(sizeof(BlockHeader)))));
  EXPECT_FALSE(HeaderIsSound(LoadStruct<StreamHeader>(ByteVector(sizeof(StreamHeader)))));
}

TEST(MtfDate, IsPackedAsOnRealMedia) {
  const MtfDate date{.bytes = {0x1F, 0x6E, 0x62, 0xD7, 0x78}};  // 2011-09-17 13:29:56, zone +8 h

  EXPECT_EQ(UnpackDate(date, 32), 1316237396);
  EXPECT_EQ(PackDate(1316237396, 32).bytes, date.bytes);
  EXPECT_EQ(UnpackDate(date, kTimeZoneUnset), 1316237396 + 8 * 3600);
}

TEST(MtfDate, GivesEverySecondBack) {
  for (const std::int64_t unix_s :
       {std::int64_t{1}, std::int64_t{-1}, std::int64_t{951782399}, std::int64_t{951782400},
        std::int64_t{951868800}, std::int64_t{4107542400}, std::int64_t{1785600001}}) {
    for (const int zone : {-48, -1, 0, 1, 56}) {
      const auto quarters = static_cast<std::int8_t>(zone);
      EXPECT_EQ(UnpackDate(PackDate(unix_s, quarters), quarters), unix_s) << zone;
    }
  }
}

TEST(MtfDate, IsZeroWhereItIsUnknownOrCannotBe) {
  EXPECT_EQ(PackDate(0, 8).bytes, MtfDate{}.bytes);
  EXPECT_EQ(UnpackDate(MtfDate{}, 8), 0);
  EXPECT_EQ(PackDate(std::int64_t{1} << 60, 0).bytes, MtfDate{}.bytes);
  EXPECT_EQ(UnpackDate(MtfDate{.bytes = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}, 0), 0);
}

std::string ThroughUtf16(const std::string& text) {
  const std::u16string utf16 = ToUtf16(text);
  return FromUtf16(std::as_bytes(std::span(utf16)));
}

TEST(Utf16, GivesEveryCharacterBack) {
  for (const std::string text : {"", "plain", "Bänder", "日本語", "\xF0\x9F\x92\xBE and more"}) {
    EXPECT_EQ(ThroughUtf16(text), text);
  }
  EXPECT_EQ(ToUtf16("\xF0\x9F\x92\xBE").size(), 2U);
}

TEST(Utf16, ReplacesWhatIsNotText) {
  EXPECT_EQ(ThroughUtf16("a\xFF"
                         "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(ThroughUtf16("\xC0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong
  EXPECT_EQ(ThroughUtf16("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // surrogate
  EXPECT_EQ(ThroughUtf16("\xE6\x97"), "\xEF\xBF\xBD\xEF\xBF\xBD");                  // cut off
  const std::u16string lone = {0xDC00, u'x', 0xD800};
  EXPECT_EQ(FromUtf16(std::as_bytes(std::span(lone))),
            "\xEF\xBF\xBD"
            "x\xEF\xBF\xBD");
}

TEST(BlockString, IsEmptyIfItPointsOutsideTheBlock) {
  const ByteVector block(100, std::byte{'x'});

  EXPECT_EQ(BlockString(block, {.size = 4, .offset = 96}, 1), "xxxx");
  EXPECT_EQ(BlockString(block, {.size = 5, .offset = 96}, 1), "");
  EXPECT_EQ(BlockString(block, {.size = 0xFFFF, .offset = 0xFFFF}, 1), "");
  EXPECT_EQ(BlockString(block, {.size = 4, .offset = 0}, 0), "");
}

TEST(AllZero, SeesEveryByte) {
  ByteVector bytes(67);
  EXPECT_TRUE(AllZero(bytes));
  EXPECT_TRUE(AllZero({}));
  for (std::byte& byte : bytes) {
    byte = std::byte{1};
    EXPECT_FALSE(AllZero(bytes));
    byte = std::byte{0};
  }
}

}  // namespace
}  // namespace capstan::media
