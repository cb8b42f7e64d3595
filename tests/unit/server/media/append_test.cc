// Several sets on one medium: what is appended, where, and what a cut leaves.
#include <chrono>
#include <optional>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "server/media/block_composer.h"
#include "server/media/set_map.h"
#include "tests/unit/server/media/medium_builder.h"
#include "tests/unit/server/media/memory_source.h"

namespace capstan::media {
namespace {

using test::HasCode;
using test::HasReason;
using test::IsOk;

Result<MediumListing> List(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  return ReadListing(source);
}

BackupSet NthSet(std::uint16_t position) {
  BackupSet set = TestSet(65536);
  set.position = position;
  set.backup_set_guid = TestGuid(static_cast<std::uint8_t>(0x80 + position));
  set.name = fmt::format("set {}", position);
  return set;
}

// Appends set `append.position` with `frames` frames.
std::vector<std::byte> Append(std::vector<std::byte> bytes, const AppendPoint& append,
                              std::uint32_t frames = 1) {
  bytes.resize(append.offset);
  MediaHeader header = TestHeader();
  MediumBuilder builder(
      {.header = header, .set = NthSet(append.position), .form = {}, .append = append},
      std::move(bytes));
  for (std::uint32_t i = 0; i < frames; ++i) {
    builder.Add({.file_offset = 1000U * i + append.position, .length = 1000, .sequence = i});
  }
  return builder.Finish().bytes;
}

std::vector<std::byte> AppendTo(const std::vector<std::byte>& bytes, std::uint32_t frames = 1) {
  const Result<MediumListing> listing = List(bytes);
  EXPECT_THAT(listing, IsOk());
  EXPECT_TRUE(listing.ok() && listing.value().append);
  return listing.ok() && listing.value().append ? Append(bytes, *listing.value().append, frames)
                                                : bytes;
}

std::vector<std::byte> MediumOf(std::uint16_t sets, std::uint32_t frames = 1) {
  MediumBuilder builder(TestHeader(), NthSet(1));
  for (std::uint32_t i = 0; i < frames; ++i) {
    builder.Add({.file_offset = 1000U * i + 1, .length = 1000, .sequence = i});
  }
  std::vector<std::byte> bytes = builder.Finish().bytes;
  for (std::uint16_t i = 1; i < sets; ++i) {
    bytes = AppendTo(bytes, frames);
  }
  return bytes;
}

void ExpectSetReads(std::span<const std::byte> bytes, std::uint16_t position,
                    std::size_t frames = 1) {
  RecordingVisitor visitor;
  ASSERT_THAT(ReadAll(bytes, &visitor, 0, position), IsOk()) << position;
  ASSERT_EQ(visitor.frames.size(), frames);
  EXPECT_EQ(visitor.frames[0].payload,
            PayloadOf({.file_offset = position, .length = 1000, .sequence = 0}));
  EXPECT_EQ(visitor.trailers[0].set.position, position);
}

TEST(Append, AddsSetsThatAreListedAndRead) {
  const std::vector<std::byte> medium = MediumOf(3, 2);

  const Result<MediumListing> listing = List(medium);

  ASSERT_THAT(listing, IsOk());
  ASSERT_EQ(listing.value().sets.size(), 3U);
  EXPECT_EQ(listing.value().tail, MediumTail::kNothing);
  for (std::uint16_t position = 1; position <= 3; ++position) {
    const SetListing& set = listing.value().sets[position - 1U];
    EXPECT_EQ(set.set.name, fmt::format("set {}", position));
    EXPECT_TRUE(set.complete);
    ExpectSetReads(medium, position, 2);
  }
  EXPECT_EQ(listing.value().append->position, 4);
  EXPECT_EQ(listing.value().append->offset, medium.size());
  EXPECT_EQ(listing.value().append->filemarks.count, 7U);
}

TEST(Append, LeavesTheBytesInFrontAsTheyAre) {
  const std::vector<std::byte> one = MediumOf(1);
  const std::vector<std::byte> two = AppendTo(one);

  EXPECT_TRUE(std::equal(one.begin(), one.end(), two.begin()));
}

// MTF 1.00a, type 1: every set map lists all sets of the medium so far.
TEST(Append, ListsAllSetsInTheSetMap) {
  const Result<MediumListing> listing = List(MediumOf(4));

  ASSERT_THAT(listing, IsOk());
  ASSERT_TRUE(listing.value().append->set_map);
  ASSERT_EQ(listing.value().append->set_map->size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto entry = LoadStruct<SetMapEntry>(Bytes((*listing.value().append->set_map)[i]));
    EXPECT_EQ(+entry.set_number, i + 1);
    EXPECT_EQ(entry.set_pba * kPhysicalBlock, listing.value().sets[i].set_offset);
  }
}

// The filemark that ends the medium lists 1009 before it: 504 sets. More fall out of it.
TEST(Append, GoesOnWhenFilemarksAreFull) {
  std::vector<std::byte> medium = MediumOf(1, 0);
  AppendPoint append = *List(medium).value().append;
  const auto started = std::chrono::steady_clock::now();
  for (std::uint16_t position = 2; position <= 1100; ++position) {
    // As AppendTo, but without taking the medium to pieces every time.
    append.set_map.emplace();
    medium = Append(std::move(medium), append, 0);
    if (position % 250 == 0 || position > 1098) {
      const Result<MediumListing> listing = List(medium);
      ASSERT_THAT(listing, IsOk());
      ASSERT_EQ(listing.value().sets.size(), position);
      EXPECT_EQ(listing.value().append->filemarks.count, 2U * position + 1);
      append = *listing.value().append;
      continue;
    }
    MemorySource tail(medium);
    AppendPoint next = append;
    next.offset = medium.size();
    next.position = static_cast<std::uint16_t>(position + 1);
    // Two more filemarks: the one in front of the ESETs and the last one.
    const auto mark = LoadStruct<SoftFilemarkHeader>(Bytes(medium).last(kPhysicalBlock));
    next.filemarks = {.count = mark.header.control_block_id, .places = {}};
    for (std::size_t i = std::min<std::size_t>(mark.used, 1008); i-- > 0;) {
      next.filemarks.places.push_back(LoadStruct<std::uint32_t>(
          Bytes(medium).last(kPhysicalBlock).subspan(sizeof(mark) + i * sizeof(std::uint32_t))));
    }
    next.filemarks.places.push_back(static_cast<std::uint32_t>(medium.size() / 4096 - 1));
    append = next;
  }
  RecordingVisitor visitor;
  EXPECT_THAT(ReadAll(medium, &visitor, 0, 1100), IsOk());
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(20));
}

// Where a cut leaves the medium: set 1 is there and reads, and the next set goes behind it.
void ExpectAppendable(std::span<const std::byte> cut, const std::vector<std::byte>& one) {
  const Result<MediumListing> listing = List(cut);
  ASSERT_THAT(listing, IsOk()) << cut.size() << ' ' << listing.status().hint();
  ASSERT_TRUE(listing.value().append) << cut.size();
  const AppendPoint& append = *listing.value().append;
  ASSERT_EQ(append.offset, one.size()) << cut.size();
  ASSERT_EQ(append.position, 2) << cut.size();
  ASSERT_TRUE(listing.value().sets[0].complete);
  EXPECT_EQ(listing.value().tail,
            cut.size() == one.size() ? MediumTail::kNothing : MediumTail::kUnfinishedSet);
}

void ExpectBothRead(std::span<const std::byte> cut) {
  ExpectSetReads(cut, 1);
  const std::vector<std::byte> again = AppendTo({cut.begin(), cut.end()});
  ExpectSetReads(again, 1);
  ExpectSetReads(again, 2);
}

TEST(Append, CutAnywhereLeavesEarlierSetsAndIsAppendedToAgain) {
  const std::vector<std::byte> one = MediumOf(1);
  const std::vector<std::byte> two = AppendTo(one, 2);
  const std::span<const std::byte> all(two);
  std::vector<std::size_t> cuts;
  for (std::size_t at = one.size(); at < two.size(); at += 512) {
    cuts.push_back(at);
  }
  std::mt19937 random(static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed() + 1));
  std::uniform_int_distribution<std::size_t> anywhere(one.size(), two.size() - 1);
  for (int i = 0; i < 1000; ++i) {
    cuts.push_back(anywhere(random));
  }
  std::size_t count = 0;
  for (const std::size_t cut : cuts) {
    ExpectAppendable(all.first(cut), one);
    if (++count % 8 == 0 || cut % kPhysicalBlock == 0) {
      ExpectBothRead(all.first(cut));
    }
    if (HasFailure()) {
      FAIL() << "cut at " << cut;
    }
  }
}

// Writes of an append reach the disk in any order: what did not is zeros.
TEST(Append, HolesInAnUnfinishedSetDoNotMatter) {
  const std::vector<std::byte> one = MediumOf(1);
  const std::vector<std::byte> two = AppendTo(one, 3);
  std::mt19937 random(7);
  for (int round = 0; round < 400; ++round) {
    const std::size_t end = one.size() + random() % (two.size() - one.size() - kPhysicalBlock) + 1;
    std::vector<std::byte> cut(two.begin(), two.begin() + static_cast<std::ptrdiff_t>(end));
    for (std::size_t page = one.size(); page < cut.size(); page += 4096) {
      if (random() % 4 == 0) {
        std::fill(cut.begin() + static_cast<std::ptrdiff_t>(page),
                  cut.begin() + static_cast<std::ptrdiff_t>(std::min(page + 4096, cut.size())),
                  std::byte{0});
      }
    }
    ExpectAppendable(cut, one);
    if (HasFailure()) {
      FAIL() << "round " << round;
    }
  }
}

TEST(Append, RefusesWhatItDoesNotKnowAtTheEnd) {
  std::vector<std::byte> medium = MediumOf(1);
  const std::size_t size = medium.size();
  for (const std::size_t garbage : {1U, 4U, 51U, 52U, 61U, 98U, 1023U, 1024U, 4096U, 100000U}) {
    medium.resize(size);
    medium.resize(size + garbage, std::byte{0x5A});
    const Result<MediumListing> listing = List(medium);
    ASSERT_THAT(listing, IsOk()) << listing.status().hint();
    EXPECT_EQ(listing.value().tail, MediumTail::kUnknown);
    EXPECT_FALSE(listing.value().append);
    EXPECT_EQ(listing.value().sets.size(), 1U);
  }
}

// Less than a block may be the beginning of a set of ours, and of no other program's.
TEST(Append, TakesLessThanABlockForWhatItIs) {
  const std::vector<std::byte> one = MediumOf(1);
  const std::vector<std::byte> two = AppendTo(one, 2);
  std::vector<std::byte> foreign = two;
  foreign[one.size() + 60] ^= std::byte{1};
  std::vector<std::byte> zeros = one;
  zeros.resize(two.size());
  for (std::size_t rest = 1; rest < kFormatLogicalBlock; ++rest) {
    const auto tail_of = [&](const std::vector<std::byte>& medium) {
      const Result<MediumListing> listing = List(std::span(medium).first(one.size() + rest));
      EXPECT_THAT(listing, IsOk()) << rest << ' ' << listing.status().hint();
      EXPECT_EQ(listing->append.has_value(), listing->tail != MediumTail::kUnknown) << rest;
      return listing->tail;
    };
    ASSERT_EQ(tail_of(two), MediumTail::kUnfinishedSet) << rest;
    ASSERT_EQ(tail_of(zeros), MediumTail::kUnfinishedSet) << rest;
    ASSERT_EQ(tail_of(foreign), rest < 62 ? MediumTail::kUnfinishedSet : MediumTail::kUnknown)
        << rest;
  }
}

// A set that was whole is never taken for an unfinished one because its last filemark is damaged.
TEST(Append, RefusesASetWhoseLastFilemarkIsDamaged) {
  std::vector<std::byte> medium = MediumOf(2);
  for (const std::size_t at : {0U, 9U, 56U, 60U, 4000U}) {
    std::vector<std::byte> damaged = medium;
    damaged[damaged.size() - kPhysicalBlock + at] ^= std::byte{0x40};
    const Result<MediumListing> listing = List(damaged);
    EXPECT_TRUE(!listing.ok() || !listing.value().append) << at;
  }
}

// A sparse medium of more than 100 GB, of whose frames only the beginnings were ever written.
TEST(Append, ListsALargeMediumQuickly) {
  constexpr std::uint16_t kSets = 120;
  constexpr std::uint64_t kSetSize = 1ULL << 30;
  SparseSource source;
  std::vector<std::byte> buffer(8U << 20);
  AppendPoint append;
  MediaHeader header = TestHeader();
  for (std::uint16_t position = 1; position <= kSets; ++position) {
    BackupSet set = NthSet(position);
    set.transfer_size = static_cast<std::uint32_t>(buffer.size());
    FamilyOptions options{.header = header, .set = set, .form = {}, .append = {}};
    if (position > 1) {
      options.append = append;
    }
    auto writer = FamilyWriter::Create(options);
    ASSERT_THAT(writer, IsOk());
    const std::uint32_t capacity = (*writer)->geometry().payload_capacity;
    source.Put((*writer)->preamble_offset(), BytesOf(*(*writer)->Preamble()));
    for (std::uint64_t i = 0; i < kSetSize / set.transfer_size; ++i) {
      const std::uint64_t offset =
          (*writer)->SealFrame(buffer, {.file_offset = i, .length = capacity, .sequence = i});
      source.Put(offset, {buffer.begin(), buffer.begin() + 1024});
    }
    const FamilySummary own = (*writer)->summary();
    auto trailer = (*writer)->Trailer(FinalOf(set, own.payload_bytes), std::span(&own, 1));
    ASSERT_THAT(trailer, IsOk());
    source.Put((*writer)->trailer_offset(), BytesOf(**trailer));
    append = *ReadListing(source).value().append;
  }
  ASSERT_GT(source.size_bytes(), 100ULL << 30);
  source.bytes_read = 0;
  const auto started = std::chrono::steady_clock::now();

  const Result<MediumListing> listing = ReadListing(source);

  const auto elapsed = std::chrono::steady_clock::now() - started;
  ASSERT_THAT(listing, IsOk());
  EXPECT_EQ(listing.value().sets.size(), kSets);
  EXPECT_LT(elapsed, std::chrono::seconds(10));
  EXPECT_LT(source.bytes_read, kSets * (64ULL << 10));
}

}  // namespace
}  // namespace capstan::media
