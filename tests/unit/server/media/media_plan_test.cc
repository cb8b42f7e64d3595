// What a backup does to its media: the tables of MTF's and SQL Server's documentation, cell by
// cell.
#include "server/media/media_plan.h"

#include <ctime>
#include <tuple>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/messages/messages.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/media/medium_builder.h"

namespace capstan::media {
namespace {

using test::HasReason;
using test::IsOk;
using test::MessageHas;

constexpr std::int64_t kNow = 1'800'000'000;

MediumState Absent(std::string target) {
  return {.target = std::move(target), .exists = false, .failure = {}, .listing = {}};
}

MediumState Empty(std::string target) {
  return {.target = std::move(target), .exists = true, .failure = {}, .listing = {}};
}

MediumState NoMedium(std::string target) {
  MediumState state = Empty(std::move(target));
  state.failure = SqlError(3242, state.target);
  return state;
}

// A medium of ours with `sets` sets.
MediumState Held(std::string target, MediaHeader header = TestHeader(), std::uint16_t sets = 1) {
  MediumState state = Empty(std::move(target));
  state.listing.emplace();
  state.listing->header = std::move(header);
  state.listing->size_bytes = 1 << 20;
  for (std::uint16_t i = 1; i <= sets; ++i) {
    SetListing& set = state.listing->sets.emplace_back();
    set.set.position = i;
    set.set.backup_set_guid = TestGuid(static_cast<std::uint8_t>(i));
  }
  state.listing->append = AppendPoint{.offset = 1 << 20,
                                      .position = static_cast<std::uint16_t>(sets + 1),
                                      .form = {},
                                      .filemarks = {.count = 2U * sets + 1, .places = {}},
                                      .set_map = SetMap()};
  return state;
}

MediumState Family(std::string target, std::uint16_t number, std::uint16_t count,
                   std::uint16_t mirrors = 1) {
  MediaHeader header = TestHeader();
  header.family_number = number;
  header.family_count = count;
  header.mirror_count = mirrors;
  header.media_family_id = 100U + number;
  return Held(std::move(target), header);
}

MediumState Foreign(std::string target) {
  MediaHeader header{.media_family_id = 0x01020304,
                     .name = "NT backup",
                     .software_name = "NTBackup",
                     .software_vendor_id = 0x0CBE};
  MediumState state = Held(std::move(target), header);
  state.listing->foreign = true;
  state.listing->sets[0].foreign = true;
  return state;
}

MediaWishes Wishes(MediaUse use = MediaUse::kAppend) {
  MediaWishes wishes;
  wishes.use = use;
  wishes.now_unix_s = kNow;
  return wishes;
}

Result<MediaPlan> Plan(const MediaWishes& wishes, std::vector<MediumState> row) {
  return PlanMedia(wishes, {std::move(row)});
}

// S3-01, S3-02, S3-03, S3-04, S3-05, S3-06, S3-07, S3-08, S3-16
TEST(MediaPlan, CompressionIsTheClausesAndTheMediasAndOnlyForNewOnesTheServers) {
  enum Media { kNew, kPlain, kCompressed };
  const std::optional<bool> none;
  struct Cell {
    std::optional<bool> clause;
    Media media;
    std::optional<bool> by_default[2];  // what comes of it under default 0 and 1; nothing = 3098
  };
  const Cell cells[] = {
      {none, kNew, {false, true}},        {none, kPlain, {false, false}},
      {none, kCompressed, {true, true}},  {true, kNew, {true, true}},
      {true, kPlain, {none, none}},       {true, kCompressed, {true, true}},
      {false, kNew, {false, false}},      {false, kPlain, {false, false}},
      {false, kCompressed, {none, none}},
  };
  for (const Cell& cell : cells) {
    for (const bool by_default : {false, true}) {
      for (const MediaUse use : {MediaUse::kAppend, MediaUse::kOverwrite}) {
        MediaWishes wishes = Wishes(use);
        wishes.compression = cell.clause;
        wishes.compression_default = by_default;
        MediaHeader header = TestHeader();
        header.compressed = cell.media == kCompressed;

        const auto plan = Plan(wishes, {cell.media == kNew ? Absent("a") : Held("a", header)});

        const std::optional<bool> expected = cell.by_default[by_default ? 1 : 0];
        const std::string which = fmt::format("clause {} media {} default {}",
                                              cell.clause ? *cell.clause ? "on" : "off" : "none",
                                              static_cast<int>(cell.media), by_default);
        if (!expected) {
          EXPECT_THAT(plan, HasReason(3098)) << which;
          continue;
        }
        ASSERT_THAT(plan, IsOk()) << which;
        EXPECT_EQ(plan->compressed, *expected) << which;
        EXPECT_EQ(plan->families[0].header.compressed, *expected) << which;
      }
    }
  }
}

// S3-12, S3-20: FORMAT asks nobody.
TEST(MediaPlan, FormatTakesClauseOrDefaultWhateverTheMediumHas) {
  MediaHeader compressed = TestHeader();
  compressed.compressed = true;
  for (const bool by_default : {false, true}) {
    MediaWishes wishes = Wishes(MediaUse::kFormat);
    wishes.compression_default = by_default;
    wishes.media_name = "New";
    const auto plan = Plan(wishes, {Held("a", compressed)});
    ASSERT_THAT(plan, IsOk());
    EXPECT_EQ(plan->compressed, by_default);
    EXPECT_EQ(plan->action, MediumAction::kReplace);
    EXPECT_EQ(plan->families[0].header.name, "New");
    EXPECT_NE(plan->families[0].header.media_set_id, TestHeader().media_set_id);
    EXPECT_THAT(Plan(wishes, {NoMedium("a")}), IsOk());
  }
}

// S3-29
TEST(MediaPlan, SaysIn3098WhatWasAskedForAndWhatToSpecifyInstead) {
  MediaHeader header = TestHeader();
  MediaWishes wishes = Wishes();
  wishes.compression = true;
  EXPECT_THAT(
      Plan(wishes, {Held("a", header)}).status(),
      MessageHas("because 'COMPRESSION' was requested after the media was formatted with an "
                 "incompatible structure. To append to this media set, either omit "
                 "'COMPRESSION' or specify 'NO_COMPRESSION'. Alternatively"));
  header.compressed = true;
  wishes.compression = false;
  EXPECT_THAT(Plan(wishes, {Held("a", header)}).status(),
              MessageHas("either omit 'NO_COMPRESSION' or specify 'COMPRESSION'."));
}

// The table of NOSKIP/SKIP and NOINIT/INIT with NOFORMAT.
TEST(MediaPlan, SkipAndInitDecideWhatIsCheckedOfWhatMedia) {
  enum Medium { kValid, kNothing, kNotMtf, kEmpty };
  for (const bool skip : {false, true}) {
    for (const MediaUse use : {MediaUse::kAppend, MediaUse::kOverwrite}) {
      const bool init = use == MediaUse::kOverwrite;
      for (const Medium medium : {kValid, kNothing, kNotMtf, kEmpty}) {
        for (const bool name_fits : {false, true}) {
          for (const bool expired : {false, true}) {
            MediaWishes wishes = Wishes(use);
            wishes.skip = skip;
            wishes.media_name = name_fits ? TestHeader().name : "another";
            MediumState state = medium == kNothing  ? Absent("a")
                                : medium == kEmpty  ? Empty("a")
                                : medium == kNotMtf ? NoMedium("a")
                                                    : Held("a");
            if (state.listing) {
              state.listing->sets[0].set.expiration_unix_s = expired ? kNow - 1 : kNow + 1;
            }
            const auto plan = Plan(wishes, {state});
            SCOPED_TRACE(fmt::format("skip {} init {} medium {} name {} expired {}", skip, init,
                                     static_cast<int>(medium), name_fits, expired));
            if (medium == kNotMtf) {
              EXPECT_THAT(plan, HasReason(3242));
            } else if (medium == kValid && !skip && !name_fits) {
              EXPECT_THAT(plan, HasReason(4037));
            } else if (medium == kValid && !skip && init && !expired) {
              EXPECT_THAT(plan, HasReason(4030));
            } else {
              ASSERT_THAT(plan, IsOk());
              EXPECT_EQ(plan->action, medium == kNothing          ? MediumAction::kCreate
                                      : medium == kValid && !init ? MediumAction::kAppend
                                                                  : MediumAction::kReplace);
              EXPECT_EQ(plan->position, medium == kValid && !init ? 2 : 1);
              const bool kept = plan->families[0].header.media_set_id == TestHeader().media_set_id;
              EXPECT_EQ(kept, medium == kValid);
            }
          }
        }
      }
    }
  }
}

TEST(MediaPlan, NamesTheNamesIn4037) {
  MediaWishes wishes = Wishes();
  wishes.media_name = "Weekly";
  EXPECT_THAT(Plan(wishes, {Held("/b/a.bak")}).status(),
              MessageHas("The user-specified MEDIANAME \"Weekly\" does not match the MEDIANAME "
                         "\"Nightly\" of the device \"/b/a.bak\"."));
}

TEST(MediaPlan, PrintsTheDateIn4030) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  struct Date {
    std::int64_t unix_s;
    const char* text;
  };
  for (const Date& date : {Date{1'801'526'400, "Feb  2 2027 12:00:00:000AM"},
                           Date{1'801'526'400 + 45'296, "Feb  2 2027 12:34:56:000PM"},
                           Date{1'811'894'400 - 3 * 3600, "Jun  1 2027  9:00:00:000PM"}}) {
    MediumState state = Held("/b/a.bak");
    state.listing->sets[0].set.expiration_unix_s = date.unix_s;
    EXPECT_THAT(
        Plan(Wishes(MediaUse::kOverwrite), {state}).status(),
        MessageHas(fmt::format("The medium on device '/b/a.bak' expires on {} and cannot be "
                               "overwritten.",
                               date.text)));
  }
}

// S3-21
TEST(MediaPlan, InitKeepsTheHeader) {
  MediaHeader header = TestHeader();
  header.compressed = true;
  const auto plan = Plan(Wishes(MediaUse::kOverwrite), {Held("a", header, 3)});

  ASSERT_THAT(plan, IsOk());
  const MediaHeader& kept = plan->families[0].header;
  EXPECT_EQ(std::tie(kept.media_set_id, kept.media_family_id, kept.name, kept.description),
            std::tie(header.media_set_id, header.media_family_id, header.name, header.description));
  EXPECT_EQ(kept.date_unix_s, header.date_unix_s);
  EXPECT_TRUE(kept.compressed);
  EXPECT_FALSE(plan->families[0].mirrors[0].append);
}

TEST(MediaPlan, TakesTheFamiliesInAnyOrder) {
  const auto plan = Plan(Wishes(), {Family("c", 3, 3), Family("a", 1, 3), Family("b", 2, 3)});

  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->families[0].mirrors[0].column, 1U);
  EXPECT_EQ(plan->families[1].mirrors[0].column, 2U);
  EXPECT_EQ(plan->families[2].mirrors[0].column, 0U);
  EXPECT_EQ(plan->families[2].header.family_number, 3);
  EXPECT_EQ(plan->families[2].header.media_family_id, 103U);
}

TEST(MediaPlan, NumbersNewFamiliesInTheOrderOfTheStatement) {
  const auto plan = Plan(Wishes(), {Absent("c"), Absent("a")});

  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->families[0].header.family_number, 1);
  EXPECT_EQ(plan->families[0].mirrors[0].column, 0U);
  EXPECT_EQ(plan->families[1].header.family_count, 2);
  EXPECT_NE(plan->families[0].header.media_family_id, plan->families[1].header.media_family_id);
}

TEST(MediaPlan, RefusesMediaThatDoNotMakeTheMediaSet) {
  MediaHeader other_set = TestHeader();
  other_set.media_set_id = TestGuid(0x77);
  other_set.family_count = 2;
  other_set.family_number = 2;
  MediaHeader second_medium = TestHeader();
  second_medium.media_sequence_number = 2;
  const auto status = [](std::vector<MediumState> row) { return Plan(Wishes(), row).status(); };

  EXPECT_THAT(status({Family("a", 1, 3), Family("b", 2, 3)}), HasReason(3132));
  EXPECT_THAT(status({Family("a", 1, 3), Family("b", 2, 3)}),
              MessageHas("has 3 media families but only 2 are provided"));
  EXPECT_THAT(status({Family("a", 1, 2), Absent("b")}), HasReason(3132));
  EXPECT_THAT(status({Family("a", 1, 1), Absent("b")}), HasReason(3231));
  EXPECT_THAT(status({Family("a", 1, 2), Family("b", 1, 2)}), HasReason(3227));
  EXPECT_THAT(status({Family("a", 1, 2), Family("b", 1, 2)}),
              MessageHas("\"b\" is part of media family 1 which has already been processed on "
                         "\"a\""));
  EXPECT_THAT(status({Family("a", 1, 2), Held("b", other_set)}), HasReason(3258));
  EXPECT_THAT(status({Held("a", second_medium)}), HasReason(3247));
}

TEST(MediaPlan, RefusesFamiliesThatHoldDifferentSets) {
  MediumState obsolete = Family("b", 2, 2);
  MediumState current = Family("a", 1, 2);
  current.listing->sets.push_back(current.listing->sets[0]);
  current.listing->sets[1].set.backup_set_guid = TestGuid(0x99);

  EXPECT_THAT(Plan(Wishes(), {current, obsolete}), HasReason(3232));
  EXPECT_THAT(Plan(Wishes(), {current, obsolete}).status(), MessageHas("\"b\""));
  EXPECT_THAT(Plan(Wishes(MediaUse::kOverwrite), {current, obsolete}), IsOk());
}

TEST(MediaPlan, RefusesToAppendToWhatItCannotGoOnWith) {
  MediumState unknown = Held("a");
  unknown.listing->append.reset();
  unknown.listing->tail = MediumTail::kUnknown;
  MediumState full = Held("a");
  full.listing->append.reset();

  EXPECT_THAT(Plan(Wishes(), {unknown}), HasReason(3266));
  EXPECT_THAT(Plan(Wishes(), {full}), HasReason(3246));
  EXPECT_THAT(Plan(Wishes(MediaUse::kOverwrite), {unknown}), IsOk());
  EXPECT_THAT(Plan(Wishes(MediaUse::kOverwrite), {full}), IsOk());
}

TEST(MediaPlan, EncryptionBelongsToNewMediaSets) {
  MediumState encrypted = Held("a");
  encrypted.listing->sets[0].set.encryption.key_algorithm = "aes_256";
  for (const MediaUse use : {MediaUse::kAppend, MediaUse::kOverwrite}) {
    MediaWishes wishes = Wishes(use);
    EXPECT_THAT(Plan(wishes, {encrypted}), HasReason(3095));
    wishes.encryption = true;
    EXPECT_THAT(Plan(wishes, {Held("a")}), HasReason(3095));
    EXPECT_THAT(Plan(wishes, {encrypted}).status(), MessageHas("'ENCRYPTION' was requested"));
    const auto fresh = Plan(wishes, {Absent("a")});
    ASSERT_THAT(fresh, IsOk());
    EXPECT_TRUE(fresh->families[0].header.encrypted);
  }
  MediaWishes format = Wishes(MediaUse::kFormat);
  format.encryption = true;
  EXPECT_THAT(Plan(format, {encrypted}), IsOk());
}

// S3-23, S3-24, S3-25, S3-26
TEST(MediaPlan, ForeignMediaAreUncompressedOnes) {
  const auto append = Plan(Wishes(), {Foreign("a")});
  ASSERT_THAT(append, IsOk());
  EXPECT_EQ(append->action, MediumAction::kAppend);
  EXPECT_EQ(append->position, 2);
  EXPECT_FALSE(append->compressed);
  EXPECT_FALSE(append->families[0].header.media_set_id.is_zero());
  EXPECT_EQ(append->families[0].header.software_vendor_id, 0x0CBE);

  MediaWishes compressed = Wishes();
  compressed.compression_default = true;
  EXPECT_FALSE(Plan(compressed, {Foreign("a")})->compressed);
  for (const MediaUse use : {MediaUse::kAppend, MediaUse::kOverwrite}) {
    compressed.use = use;
    compressed.compression = true;
    EXPECT_THAT(Plan(compressed, {Foreign("a")}), HasReason(3098));
  }

  const auto init = Plan(Wishes(MediaUse::kOverwrite), {Foreign("a")});
  ASSERT_THAT(init, IsOk());
  EXPECT_EQ(init->families[0].header.name, "NT backup");
  EXPECT_EQ(init->families[0].header.software_vendor_id, kSoftwareVendorId);
  EXPECT_EQ(init->families[0].header.media_set_id, append->families[0].header.media_set_id);
}

TEST(MediaPlan, SqlServersMediaAreRead) {
  MediaHeader header = TestHeader();
  header.software_vendor_id = kSqlServerVendorId;
  for (const MediaUse use : {MediaUse::kAppend, MediaUse::kOverwrite}) {
    EXPECT_THAT(Plan(Wishes(use), {Held("a", header)}), HasReason(65009));
  }
  EXPECT_THAT(Plan(Wishes(MediaUse::kFormat), {Held("a", header)}), IsOk());
}

TEST(MediaPlan, MirrorsAreRowsOfTheSameFamilies) {
  const MediaRows rows = {{Family("a", 1, 2, 2), Family("b", 2, 2, 2)},
                          {Family("b2", 2, 2, 2), Family("a2", 1, 2, 2)}};

  const auto plan = PlanMedia(Wishes(), rows);

  ASSERT_THAT(plan, IsOk());
  ASSERT_EQ(plan->families[0].mirrors.size(), 2U);
  EXPECT_EQ(plan->families[0].mirrors[1].column, 1U);
  EXPECT_EQ(plan->families[1].mirrors[1].column, 0U);
  EXPECT_EQ(plan->families[1].mirrors[1].row, 1U);
}

TEST(MediaPlan, RefusesMirrorsThatDoNotFit) {
  const MediumState a = Family("a", 1, 1, 2);
  MediumState other = Family("a2", 1, 1, 2);
  other.listing->append->offset += 4096;

  EXPECT_THAT(PlanMedia(Wishes(), {{a}}), HasReason(3240));
  EXPECT_THAT(PlanMedia(Wishes(MediaUse::kOverwrite), {{a}}), HasReason(3240));
  EXPECT_THAT(PlanMedia(Wishes(), {{a}, {Absent("a2")}}), HasReason(3240));
  EXPECT_THAT(PlanMedia(Wishes(), {{a}, {other}}), HasReason(3210));
  EXPECT_THAT(PlanMedia(Wishes(), {{Held("a")}, {Held("a2")}}), HasReason(3215));
  EXPECT_THAT(PlanMedia(Wishes(), {{Absent("a")}, {Absent("a2")}}), HasReason(3215));
  const auto format = PlanMedia(Wishes(MediaUse::kFormat), {{Absent("a")}, {Absent("a2")}});
  ASSERT_THAT(format, IsOk());
  EXPECT_EQ(format->families[0].header.mirror_count, 2);
}

// S1-59
TEST(MediaPlan, ChecksTheRowsBeforeAnyMediumIsLookedAt) {
  const std::vector<std::string> two = {"a", "b"};
  EXPECT_THAT(CheckMediaRows({two, two, two, two}), IsOk());
  EXPECT_THAT(CheckMediaRows({two, two, two, two, two}), HasReason(3214));
  EXPECT_THAT(CheckMediaRows({two, {"c"}}), HasReason(3212));
  EXPECT_THAT(
      CheckMediaRows({std::vector<std::string>(33, "a"), std::vector<std::string>(33, "b")}),
      HasReason(3205));
}

// A tape of family `number` of two with whole sets up to `sets`.
MediumState Tape(std::string target, std::uint16_t number, std::uint16_t sets) {
  MediumState state = Family(std::move(target), number, 2);
  state.listing->sets.clear();
  for (std::uint16_t i = 1; i <= sets; ++i) {
    SetListing& set = state.listing->sets.emplace_back();
    set.set.position = i;
    set.set.backup_set_guid = TestGuid(static_cast<std::uint8_t>(i));
  }
  const auto place_of = [](std::uint16_t position) {
    return AppendPoint{.position = position,
                       .form = {.hard_filemarks = true},
                       .filemarks = {},
                       .set_map = SetMap(),
                       .place = {.filemarks = 2U * position - 1}};
  };
  state.listing->size_bytes = 0;
  state.listing->append = place_of(static_cast<std::uint16_t>(sets + 1));
  state.listing->over_last = place_of(sets);
  return state;
}

TEST(MediaPlan, TapesGetTheNextSetWhereTheyAllEnd) {
  const Result<MediaPlan> plan = Plan(Wishes(), {Tape("b", 2, 3), Tape("a", 1, 3)});

  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->position, 4);
  EXPECT_EQ(plan->action, MediumAction::kAppend);
  EXPECT_FALSE(plan->copies_sets);
  EXPECT_EQ(plan->families[1].mirrors[0].append->place.filemarks, 7U);
}

// A crash ended the set on one tape and left it torn on the other.
TEST(MediaPlan, ASetThatIsTornOnOneTapeIsGivenUpOnAll) {
  MediumState torn = Tape("b", 2, 2);
  torn.listing->unfinished_set = TestGuid(3);

  const Result<MediaPlan> plan = Plan(Wishes(), {Tape("a", 1, 3), torn});

  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->position, 3);
  EXPECT_EQ(plan->families[0].mirrors[0].append->place.filemarks, 5U);
  EXPECT_EQ(plan->families[1].mirrors[0].append->place.filemarks, 5U);

  torn.listing->unfinished_set = TestGuid(9);  // another one
  EXPECT_THAT(Plan(Wishes(), {Tape("a", 1, 3), torn}), HasReason(3232));
  torn.listing->unfinished_set.reset();  // it ended before
  EXPECT_THAT(Plan(Wishes(), {Tape("a", 1, 3), torn}), HasReason(3232));
  torn.listing->unfinished_set = TestGuid(3);
  EXPECT_THAT(Plan(Wishes(), {Tape("a", 1, 4), torn}), HasReason(3232));  // too far behind
  MediumState spanned = Tape("a", 1, 3);
  spanned.listing->over_last.reset();  // it begins on an earlier tape
  EXPECT_THAT(Plan(Wishes(), {spanned, torn}), HasReason(3232));
}

TEST(MediaPlan, TapesThatEndInDifferentSetsDoNotFit) {
  MediumState other = Tape("b", 2, 3);
  other.listing->sets.back().set.backup_set_guid = TestGuid(9);
  EXPECT_THAT(Plan(Wishes(), {Tape("a", 1, 3), other}), HasReason(3232));
}

TEST(MediaPlan, ALaterMediumIsAppendedToAndNotInitialised) {
  MediumState first = Tape("a", 1, 3);
  MediumState last = Tape("b", 2, 3);
  last.listing->header.media_sequence_number = 2;
  const Result<MediaPlan> plan = Plan(Wishes(), {first, last});
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->families[1].header.media_sequence_number, 2);

  EXPECT_THAT(Plan(Wishes(MediaUse::kOverwrite), {first, last}), HasReason(3247));
  last.listing->append.reset();
  EXPECT_THAT(Plan(Wishes(), {first, last}), HasReason(3247));
}

}  // namespace
}  // namespace capstan::media
