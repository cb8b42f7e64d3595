#include "plugins/tape/scsi/scsi_sense.h"

#include <cerrno>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace capstan::tape {
namespace {

using Bytes = std::vector<std::uint8_t>;

Sense MustRead(const Bytes& bytes) {
  const std::optional<Sense> sense = ReadSense(bytes);
  EXPECT_TRUE(sense.has_value());
  return sense.value_or(Sense{});
}

Bytes Fixed(std::uint8_t flags_and_key, std::uint8_t code, std::uint8_t qualifier) {
  return {0x70, 0, flags_and_key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0};
}

Outcome OutcomeOfBytes(const Bytes& bytes, CommandKind kind) {
  return OutcomeOf(MustRead(bytes), kind);
}

TEST(ScsiSense, FixedFormatTellsFlagsAndASignedDifference) {
  // As tgt sends it for a block of 1 MiB that is read with 1,024 bytes less.
  const Sense sense = MustRead({0xF0, 0, 0x20, 0xFF, 0xFF, 0xFC, 0x00, 10, 0, 0, 0, 0, 0, 0});

  EXPECT_TRUE(sense.incorrect_length);
  EXPECT_FALSE(sense.filemark);
  EXPECT_FALSE(sense.end_of_medium);
  EXPECT_EQ(sense.information, -1'024);
}

TEST(ScsiSense, FixedFormatWithoutTheValidBitHasNoInformation) {
  EXPECT_FALSE(MustRead({0x70, 0, 0x20, 0, 0, 1, 0}).information.has_value());
}

TEST(ScsiSense, DescriptorFormatTellsTheSame) {
  const Sense sense = MustRead({0x72, 0x00, 0x00, 0x01, 0, 0, 0, 16,                 //
                                0x00, 0x0A, 0x80, 0,    0, 0, 0, 0,  0, 0, 0x01, 0,  //
                                0x04, 0x02, 0x00, 0x80});

  EXPECT_TRUE(sense.filemark);
  EXPECT_EQ(sense.information, 256);
  EXPECT_EQ(OutcomeOf(sense, CommandKind::kRead), Outcome::kFilemark);
}

TEST(ScsiSense, DeferredErrorsAreOfAnEarlierCommand) {
  Bytes bytes = Fixed(0x4D, 0x00, 0x02);
  EXPECT_EQ(OutcomeOfBytes(bytes, CommandKind::kWrite), Outcome::kNoRoom);

  bytes[0] = 0x71;
  EXPECT_EQ(OutcomeOfBytes(bytes, CommandKind::kWrite), Outcome::kMediumError);
  EXPECT_EQ(WordsOf(MustRead(bytes)),
            "an earlier command: volume overflow: end of medium (D/00/02)");
}

TEST(ScsiSense, EndOfMediumDependsOnWhatWasAsked) {
  const Bytes bytes = Fixed(0x40, 0x00, 0x02);
  EXPECT_EQ(OutcomeOfBytes(bytes, CommandKind::kWrite), Outcome::kEarlyWarning);
  EXPECT_EQ(OutcomeOfBytes(bytes, CommandKind::kRead), Outcome::kDone);
  EXPECT_EQ(OutcomeOfBytes(Fixed(0x40, 0x00, 0x04), CommandKind::kSpace), Outcome::kBeginning);
  // tgt: no code beside the bit; and codes beside no bit.
  EXPECT_EQ(OutcomeOfBytes(Fixed(0x40, 0, 0), CommandKind::kWrite), Outcome::kEarlyWarning);
  EXPECT_EQ(OutcomeOfBytes(Fixed(0x00, 0x00, 0x04), CommandKind::kSpace), Outcome::kBeginning);
  EXPECT_EQ(OutcomeOfBytes(Fixed(0x00, 0x00, 0x05), CommandKind::kSpace), Outcome::kEndOfData);
}

TEST(ScsiSense, OutcomesOfWhatDrivesReport) {
  struct Case {
    std::uint8_t key, code, qualifier;
    Outcome outcome;
  };
  const Case cases[] = {
      {0x8, 0x00, 0x05, Outcome::kEndOfData},     {0xD, 0x00, 0x02, Outcome::kNoRoom},
      {0x2, 0x3A, 0x00, Outcome::kNoMedium},      {0x6, 0x28, 0x00, Outcome::kMediumChanged},
      {0x6, 0x29, 0x00, Outcome::kMediumChanged}, {0x7, 0x27, 0x00, Outcome::kWriteProtected},
      {0x7, 0x30, 0x0C, Outcome::kWorm},          {0x5, 0x30, 0x00, Outcome::kIncompatible},
      {0x3, 0x30, 0x02, Outcome::kIncompatible},  {0x2, 0x04, 0x01, Outcome::kNotReady},
      {0x2, 0x30, 0x03, Outcome::kIncompatible},  {0x5, 0x20, 0x00, Outcome::kUnsupported},
      {0x5, 0x3B, 0x0D, Outcome::kUnsupported},   {0x5, 0x53, 0x02, Outcome::kBusy},
      {0x5, 0x3B, 0x0E, Outcome::kNoMedium},      {0x3, 0x11, 0x00, Outcome::kMediumError},
      {0x3, 0x53, 0x00, Outcome::kMediumError},   {0x7, 0x74, 0x01, Outcome::kMediumError},
      {0x4, 0x44, 0x00, Outcome::kHardwareError}, {0xB, 0x47, 0x00, Outcome::kTransportError},
      {0x9, 0x80, 0x00, Outcome::kHardwareError}, {0x1, 0x18, 0x00, Outcome::kDone},
      {0x5, 0x30, 0x0C, Outcome::kWorm},
  };
  for (const Case& expected : cases) {
    const Bytes bytes = Fixed(expected.key, expected.code, expected.qualifier);
    EXPECT_EQ(OutcomeOfBytes(bytes, CommandKind::kWrite), expected.outcome)
        << WordsOf(MustRead(bytes));
  }
}

TEST(ScsiSense, WordsNameKeyAndCode) {
  EXPECT_EQ(WordsOf(MustRead(Fixed(0x03, 0x11, 0x00))),
            "medium error: unrecovered read error (3/11/00)");
  EXPECT_EQ(WordsOf(MustRead(Fixed(0x04, 0xFF, 0x01))), "hardware error (4/FF/01)");
}

TEST(ScsiSense, FailuresCarryErrnoAndAdvice) {
  EXPECT_EQ(FailureOf(Outcome::kNoRoom, "x").os_error, ENOSPC);
  EXPECT_EQ(FailureOf(Outcome::kBusy, "x").os_error, EBUSY);
  EXPECT_TRUE(FailureOf(Outcome::kTransportError, "x").transient);
  EXPECT_TRUE(FailureOf(Outcome::kMediumChanged, "x").transient);
  EXPECT_FALSE(FailureOf(Outcome::kMediumError, "x").transient);
  EXPECT_FALSE(FailureOf(Outcome::kWriteProtected, "x").hint.empty());
}

TEST(ScsiSense, TooShortOrUnknownIsNothing) {
  EXPECT_FALSE(ReadSense({}).has_value());
  EXPECT_FALSE(ReadSense(Bytes{0x70, 0}).has_value());
  EXPECT_FALSE(ReadSense(Bytes{0x72, 3, 0x11}).has_value());
  EXPECT_FALSE(ReadSense(Bytes(18, 0)).has_value());
}

// Run with AddressSanitizer this shows that nothing outside is read.
TEST(ScsiSense, AnyBytesAreSurvived) {
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes(random() % 40);
    for (std::uint8_t& byte : bytes) {
      byte = static_cast<std::uint8_t>(random());
    }
    if (!bytes.empty()) {
      bytes[0] = static_cast<std::uint8_t>(0x70 + random() % 4 + (random() % 2) * 0x80);
    }
    bytes.shrink_to_fit();
    if (const std::optional<Sense> sense = ReadSense(bytes)) {
      EXPECT_FALSE(WordsOf(*sense).empty());
    }
  }
}

}  // namespace
}  // namespace capstan::tape
