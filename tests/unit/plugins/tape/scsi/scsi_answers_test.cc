#include "plugins/tape/scsi/scsi_answers.h"

#include <cstring>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plugins/tape/scsi/scsi_commands.h"

namespace capstan::tape {
namespace {

using Bytes = std::vector<std::uint8_t>;
using testing::ElementsAre;
using testing::IsEmpty;

void Append(Bytes* bytes, const Bytes& more) {
  bytes->insert(bytes->end(), more.begin(), more.end());
}

void AppendText(Bytes* bytes, std::string_view text, std::size_t size) {
  bytes->insert(bytes->end(), text.begin(), text.end());
  bytes->insert(bytes->end(), size - text.size(), ' ');
}

// As tgt answers; recorded.
Bytes TgtInquiry() {
  Bytes bytes = {0x01, 0x80, 0x05, 0x12, 0x3D, 0x00, 0x00, 0x02};
  AppendText(&bytes, "TEST", 8);
  AppendText(&bytes, "VTAPE", 16);
  AppendText(&bytes, "0001", 4);
  return bytes;
}

Bytes Attribute(std::uint16_t id, const Bytes& value) {
  Bytes bytes = {static_cast<std::uint8_t>(id >> 8), static_cast<std::uint8_t>(id), 0x80,
                 static_cast<std::uint8_t>(value.size() >> 8),
                 static_cast<std::uint8_t>(value.size())};
  Append(&bytes, value);
  return bytes;
}

// What the memory of an LTO-8 cartridge says.
Bytes Memory() {
  Bytes attributes;
  Append(&attributes, Attribute(0x0000, {0, 0, 0, 0, 0, 0xB0, 0, 0}));
  Append(&attributes, Attribute(0x0001, {0, 0, 0, 0, 0, 0xB7, 0x1B, 0}));
  Append(&attributes, Attribute(0x0003, {0, 0, 0, 0, 0, 0, 0, 42}));
  Append(&attributes, Attribute(0x0400, {'T', 'E', 'S', 'T', ' ', ' ', ' ', ' '}));
  Append(&attributes, Attribute(0x0408, {0x80}));
  Bytes barcode;
  AppendText(&barcode, "A00001LY", 32);
  Append(&attributes, Attribute(0x0806, barcode));
  Bytes bytes = {0, 0, 0, static_cast<std::uint8_t>(attributes.size())};
  Append(&bytes, attributes);
  return bytes;
}

Bytes TapeAlerts(const std::vector<int>& set) {
  Bytes bytes = {0x2E, 0, 1, 0x40};  // 64 flags of 5 bytes
  for (int flag = 1; flag <= 64; ++flag) {
    const bool is_set = std::find(set.begin(), set.end(), flag) != set.end();
    Append(&bytes,
           {0, static_cast<std::uint8_t>(flag), 0x40, 1, static_cast<std::uint8_t>(is_set)});
  }
  return bytes;
}

Bytes ElementPage(std::uint8_t type, std::uint16_t first, const std::vector<std::string>& tags) {
  Bytes elements;
  for (std::size_t index = 0; index < tags.size(); ++index) {
    const auto address = static_cast<std::uint16_t>(first + index);
    const bool full = !tags[index].empty();
    Append(&elements, {static_cast<std::uint8_t>(address >> 8), static_cast<std::uint8_t>(address),
                       static_cast<std::uint8_t>(full ? 0x09 : 0x08), 0, 0, 0, 0, 0, 0,
                       static_cast<std::uint8_t>(full ? 0x80 : 0), 0x03, 0xEA});
    AppendText(&elements, tags[index], 32);
    Append(&elements, {0, 0, 0, 0, 0, 0, 0, 0});
  }
  Bytes bytes = {static_cast<std::uint8_t>(first >> 8),
                 static_cast<std::uint8_t>(first),
                 0,
                 static_cast<std::uint8_t>(tags.size()),
                 0,
                 0,
                 0,
                 static_cast<std::uint8_t>(elements.size() + 8)};
  Append(&bytes, {type, 0x80, 0, 52, 0, 0, 0, static_cast<std::uint8_t>(elements.size())});
  Append(&bytes, elements);
  return bytes;
}

TEST(ScsiAnswers, InquiryTellsTypeAndNames) {
  const auto inquiry = ReadInquiry(TgtInquiry());

  ASSERT_TRUE(inquiry.has_value());
  EXPECT_EQ(inquiry->type, static_cast<std::uint8_t>(PeripheralType::kTape));
  EXPECT_EQ(inquiry->vendor, "TEST");
  EXPECT_EQ(inquiry->product, "VTAPE");
  EXPECT_EQ(inquiry->revision, "0001");
}

TEST(ScsiAnswers, TextsNeverCarryControlCharacters) {
  Bytes bytes = TgtInquiry();
  bytes[16] = 0x1B;
  EXPECT_EQ(ReadInquiry(bytes)->product, "?TAPE");
}

TEST(ScsiAnswers, BlockLimits) {
  EXPECT_EQ(ReadBlockSizeMax(Bytes{0x09, 0x10, 0, 0, 0, 4}), 1U << 20);
  EXPECT_EQ(ReadBlockSizeMax(Bytes{0, 0, 0, 0, 0, 1}), kTransferMax);
}

TEST(ScsiAnswers, DriveModeTellsWriteProtectionAndBlockLength) {
  const auto open = ReadDriveMode(Bytes{0xA1, 0, 0x10, 8, 0x5E, 0, 0, 0, 0, 0, 0x02, 0});
  ASSERT_TRUE(open.has_value());
  EXPECT_FALSE(open->write_protected);
  EXPECT_EQ(open->buffered_mode, 1);
  EXPECT_EQ(open->density_code, 0x5E);
  EXPECT_EQ(open->block_length, 512U);

  const auto locked = ReadDriveMode(Bytes{3, 0, 0x90, 0});
  ASSERT_TRUE(locked.has_value());
  EXPECT_TRUE(locked->write_protected);
  EXPECT_FALSE(locked->block_length.has_value());
}

TEST(ScsiAnswers, PositionsUnlessTheDriveDoesNotKnow) {
  Bytes bytes(20);
  bytes[6] = 1;
  EXPECT_EQ(ReadShortPosition(bytes), 256U);
  bytes[0] = 0x04;
  EXPECT_FALSE(ReadShortPosition(bytes).has_value());
  bytes[0] = 0x02;  // does not fit
  EXPECT_FALSE(ReadShortPosition(bytes).has_value());

  Bytes longer(32);
  longer[11] = 2;
  EXPECT_EQ(ReadLongPosition(longer), 0x2'0000'0000U);
  longer[0] = 0x04;
  EXPECT_FALSE(ReadLongPosition(longer).has_value());
}

TEST(ScsiAnswers, CartridgeAttributes) {
  const auto memory = ReadCartridgeAttributes(Memory());

  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(memory->capacity_mib, 0xB71B00U);
  EXPECT_EQ(memory->remaining_mib, 0xB00000U);
  EXPECT_EQ(memory->load_count, 42U);
  EXPECT_EQ(memory->medium_type, 0x80);
  EXPECT_EQ(memory->barcode, "A00001LY");
}

TEST(ScsiAnswers, CartridgeMemoryThatClaimsMoreThanItSends) {
  Bytes bytes = Memory();
  bytes[0] = 0x7F;
  const std::size_t size = bytes.size();
  EXPECT_EQ(ReadCartridgeAttributes(bytes)->barcode, "A00001LY");
  bytes.resize(size - 1);  // the last attribute is not whole
  EXPECT_EQ(ReadCartridgeAttributes(bytes)->barcode, "");
  EXPECT_EQ(ReadCartridgeAttributes(bytes)->load_count, 42U);
}

TEST(ScsiAnswers, TapeAlertFlagsThatAreSet) {
  EXPECT_THAT(*ReadTapeAlerts(TapeAlerts({3, 20, 64})), ElementsAre(3, 20, 64));
  EXPECT_THAT(*ReadTapeAlerts(TapeAlerts({})), IsEmpty());
  EXPECT_FALSE(WordsOfTapeAlert(20).empty());
  EXPECT_TRUE(WordsOfTapeAlert(50).empty());
  Bytes other = TapeAlerts({1});
  other[0] = 0x0C;
  EXPECT_FALSE(ReadTapeAlerts(other).has_value());
}

TEST(ScsiAnswers, ElementAddresses) {
  Bytes bytes = {0x17, 0,  0,    0,    0x1D, 0x12, 0, 100, 0, 1, 0x03, 0xE9,
                 0,    10, 0x03, 0x84, 0,    2,    0, 1,   0, 2, 0,    0};
  const auto addresses = ReadElementAddresses(bytes);

  ASSERT_TRUE(addresses.has_value());
  EXPECT_EQ((*addresses)[0].first, 100);
  EXPECT_EQ((*addresses)[1].first, 1001);
  EXPECT_EQ((*addresses)[1].count, 10);
  EXPECT_EQ((*addresses)[3].count, 2);

  bytes[3] = 8;  // claims a block descriptor in front
  EXPECT_FALSE(ReadElementAddresses(bytes).has_value());
}

TEST(ScsiAnswers, ElementsWithBarcodesAndSources) {
  std::vector<Element> elements;
  ASSERT_TRUE(ReadElements(ElementPage(4, 1, {"A00001L8", ""}), &elements));

  ASSERT_EQ(elements.size(), 2U);
  EXPECT_EQ(elements[0].kind, ElementKind::kDrive);
  EXPECT_EQ(elements[0].address, 1U);
  EXPECT_TRUE(elements[0].full);
  EXPECT_EQ(elements[0].barcode, "A00001L8");
  EXPECT_EQ(elements[0].source_address, 1002U);
  EXPECT_FALSE(elements[1].full);
  EXPECT_EQ(elements[1].barcode, "");
  EXPECT_EQ(elements[1].source_address, 0U);
}

TEST(ScsiAnswers, WhatLiesBehindTheElementsIsNone) {
  Bytes bytes = ElementPage(2, 1001, {"A00001L8"});
  bytes.resize(500);
  std::vector<Element> elements;
  ASSERT_TRUE(ReadElements(bytes, &elements));
  EXPECT_EQ(elements.size(), 1U);
}

TEST(ScsiAnswers, AnElementThatIsCutOffCountsAsFarAsItCame) {
  Bytes bytes = ElementPage(2, 1001, {"A00001L8", "A00002L8"});
  bytes.resize(bytes.size() - 20);
  std::vector<Element> elements;
  ASSERT_TRUE(ReadElements(bytes, &elements));

  ASSERT_EQ(elements.size(), 2U);
  EXPECT_EQ(elements[1].barcode, "A00002L8");
}

TEST(ScsiAnswers, ElementsThatMakeNoSense) {
  std::vector<Element> elements;
  EXPECT_FALSE(ReadElements(Bytes(7), &elements));
  Bytes bytes = ElementPage(9, 1, {"A"});  // no such type
  EXPECT_FALSE(ReadElements(bytes, &elements));
  bytes = ElementPage(2, 1, {"A"});
  bytes[11] = 4;  // descriptors of four bytes
  EXPECT_FALSE(ReadElements(bytes, &elements));
  bytes[11] = 0;
  EXPECT_FALSE(ReadElements(bytes, &elements));
  EXPECT_THAT(elements, IsEmpty());
}

void ReadAll(const Bytes& bytes) {
  std::vector<Element> elements;
  (void)ReadInquiry(bytes);
  (void)ReadBlockSizeMax(bytes);
  (void)ReadDriveMode(bytes);
  (void)ReadShortPosition(bytes);
  (void)ReadLongPosition(bytes);
  (void)ReadCartridgeAttributes(bytes);
  (void)ReadTapeAlerts(bytes);
  (void)ReadElementAddresses(bytes);
  (void)ReadElements(bytes, &elements);
  EXPECT_LE(elements.size(), bytes.size() / 12);
}

// Run with AddressSanitizer these two show that nothing outside is read.
TEST(ScsiAnswers, EveryPrefixIsSurvived) {
  for (const Bytes& whole : {TgtInquiry(), Memory(), TapeAlerts({1}),
                             ElementPage(2, 1001, {"A00001L8", "", "A00003L8"})}) {
    for (std::size_t size = 0; size <= whole.size(); ++size) {
      ReadAll(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    }
  }
}

TEST(ScsiAnswers, AnyBytesAreSurvived) {
  std::mt19937 random(1);
  const std::vector<Bytes> samples = {Memory(), TapeAlerts({1, 2}),
                                      ElementPage(2, 1001, {"A00001L8", "A00002L8"})};
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes = samples[random() % samples.size()];
    for (int change = 0; change < 4; ++change) {
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    }
    bytes.resize(random() % (bytes.size() + 1));
    bytes.shrink_to_fit();
    ReadAll(bytes);
  }
}

}  // namespace
}  // namespace capstan::tape
