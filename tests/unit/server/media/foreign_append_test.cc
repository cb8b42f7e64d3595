// Sets of ours behind those of other MTF writers, in their geometry.
#include <cstdlib>
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"
#include "tests/unit/server/media/foreign_medium.h"
#include "tests/unit/server/media/medium_builder.h"
#include "tests/unit/server/media/memory_source.h"

namespace capstan::media {
namespace {

using test::HasReason;
using test::IsOk;

std::vector<ForeignForm> Forms() {
  std::vector<ForeignForm> forms;
  for (const std::uint16_t block : std::initializer_list<std::uint16_t>{512, 1024}) {
    for (const std::uint16_t units : std::initializer_list<std::uint16_t>{1, 2, 4, 8}) {
      for (const bool strings : {false, true}) {
        for (const bool set_map : {false, true}) {
          forms.push_back({.format_logical_block = block,
                           .soft_filemark_units = units,
                           .strings = strings,
                           .set_map = set_map,
                           .sets = static_cast<std::uint16_t>(set_map ? 2 : 1)});
        }
      }
    }
  }
  return forms;
}

// Descriptor blocks of 512 bytes have less room for names.
BackupSet SetAt(std::uint16_t position) {
  BackupSet set = TestSet(65536);
  set.position = position;
  set.backup_set_guid = TestGuid(static_cast<std::uint8_t>(0x40 + position));
  return set;
}

Result<MediumListing> List(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  return ReadListing(source);
}

std::vector<std::byte> Append(const std::vector<std::byte>& bytes) {
  const Result<MediumListing> listing = List(bytes);
  EXPECT_THAT(listing, IsOk());
  EXPECT_TRUE(listing.ok() && listing->append);
  if (!listing.ok() || !listing->append) {
    return bytes;
  }
  const BackupSet set = SetAt(listing->append->position);
  MediumBuilder builder(
      {.header = listing->header, .set = set, .form = {}, .append = listing->append}, bytes);
  for (std::uint32_t i = 0; i < 3; ++i) {
    builder.Add({.file_offset = i * 8192U, .length = 4096 + i, .sequence = i});
  }
  return builder.Finish().bytes;
}

// Reads set `position`, walking or going straight to it.
Status ReadSet(std::span<const std::byte> bytes, std::uint16_t position, std::uint64_t set_offset,
               RecordingVisitor* visitor) {
  const auto reader = FamilyReader::Create("dev", position, visitor, {.set_offset = set_offset});
  std::size_t at = 0;
  std::size_t consumed = 0;
  while (!reader->done() && at < bytes.size()) {
    const std::size_t size =
        std::min<std::size_t>(reader->next_read_size(65536), bytes.size() - at);
    CAPSTAN_RETURN_IF_ERROR(reader->Consume(bytes.subspan(at, size)));
    at += size;
    consumed += size;
    if (const std::uint64_t jump = reader->TakeJump(); jump != 0) {
      EXPECT_GT(jump, at - size);
      at = jump;
    }
  }
  CAPSTAN_RETURN_IF_ERROR(reader->Finish());
  if (set_offset != 0) {
    EXPECT_LE(consumed, bytes.size() - set_offset + 4 * 65536);
  }
  return OkStatus();
}

void ExpectFrames(const RecordingVisitor& visitor) {
  ASSERT_EQ(visitor.frames.size(), 3U);
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(visitor.frames[i].payload,
              PayloadOf({.file_offset = i * 8192U, .length = 4096 + i, .sequence = i}));
  }
}

// S3-23, S3-25
TEST(ForeignAppend, KeepsTheirGeometryAndReadsBack) {
  for (const ForeignForm& form : Forms()) {
    SCOPED_TRACE(Describe(form));
    const std::vector<std::byte> foreign = ForeignMediumBuilder(form).Build();
    std::vector<std::byte> medium = Append(Append(foreign));
    ASSERT_FALSE(HasFailure());

    EXPECT_TRUE(std::equal(foreign.begin(), foreign.end(), medium.begin()));
    const Result<MediumListing> listing = List(medium);
    ASSERT_THAT(listing, IsOk()) << listing.status().hint();
    ASSERT_EQ(listing->sets.size(), form.sets + 2U);
    EXPECT_TRUE(listing->foreign);
    for (std::uint16_t position = 1; position <= form.sets; ++position) {
      const SetListing& theirs = listing->sets[position - 1U];
      EXPECT_TRUE(theirs.foreign);
      EXPECT_TRUE(theirs.complete);
      EXPECT_EQ(theirs.set.name, form.strings ? fmt::format("Foreign set {}", position) : "");
      EXPECT_EQ(theirs.set.machine_name, form.strings ? "OLDBOX" : "");
      RecordingVisitor visitor;
      EXPECT_THAT(ReadSet(medium, position, 0, &visitor), HasReason(3143));
    }
    for (std::uint16_t i = 0; i < 2; ++i) {
      const auto position = static_cast<std::uint16_t>(form.sets + 1 + i);
      for (const std::uint64_t offset :
           {std::uint64_t{0}, listing->sets[position - 1U].set_offset}) {
        RecordingVisitor visitor;
        const Status status = ReadSet(medium, position, offset, &visitor);
        ASSERT_THAT(status, IsOk()) << position << " from " << offset << ": " << status.hint();
        ExpectFrames(visitor);
      }
    }
  }
}

TEST(ForeignAppend, FollowsAddressesThatCountBytes) {
  const ForeignForm form{.soft_filemark_units = 2, .set_map = true, .bytes_as_addresses = true};
  const std::vector<std::byte> medium = Append(ForeignMediumBuilder(form).Build());
  const Result<MediumListing> listing = List(medium);
  ASSERT_THAT(listing, IsOk());
  ASSERT_EQ(listing->sets.size(), 2U);
  EXPECT_EQ(listing->append->form.address_unit, 1U);
  const auto set = LoadStruct<SetBlock>(Bytes(medium).subspan(listing->sets[1].set_offset));
  EXPECT_EQ(+set.pba, listing->sets[1].set_offset);
  RecordingVisitor visitor;
  EXPECT_THAT(ReadSet(medium, 2, listing->sets[1].set_offset, &visitor), IsOk());
  ExpectFrames(visitor);
}

// Every rule of MTF, as an independent reader sees them, and its extraction of theirs and ours.
TEST(ForeignAppend, IsSoundToAnotherReader) {
  test::TemporaryDirectory directory;
  std::string media;
  for (const ForeignForm& form : Forms()) {
    if (!form.set_map) {
      continue;
    }
    const std::string path =
        fmt::format("{}/{}-{}-{}.bkf", directory.path(), form.format_logical_block,
                    form.soft_filemark_units, form.strings);
    const std::vector<std::byte> medium = Append(Append(ForeignMediumBuilder(form).Build()));
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(medium.data()),
               static_cast<std::streamsize>(medium.size()));
    media += " " + path;
  }
  const std::string tool = CAPSTAN_SOURCE_DIR "/tests/support/mtf_extract.py";
  EXPECT_EQ(std::system(("python3 " + tool + media + " --verify > /dev/null").c_str()), 0);
  const std::string one = directory.path() + "/512-1-true.bkf";
  EXPECT_EQ(std::system(("python3 " + tool + " " + one + " --set 4 --output " + directory.path() +
                         "/out > /dev/null")
                            .c_str()),
            0);
  std::ifstream piece(directory.path() + "/out/sales/sales.db.000000000016", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(piece)), {});
  const std::vector<std::byte> expected =
      PayloadOf({.file_offset = 8192, .length = 4097, .sequence = 1});
  EXPECT_EQ(text, std::string(reinterpret_cast<const char*>(expected.data()), expected.size()));
}

TEST(ForeignAppend, CutAnywhereIsAppendedToAgain) {
  const ForeignForm form{.format_logical_block = 512, .soft_filemark_units = 1, .set_map = true};
  const std::vector<std::byte> foreign = ForeignMediumBuilder(form).Build();
  const std::vector<std::byte> medium = Append(foreign);
  for (std::size_t cut = foreign.size(); cut < medium.size(); cut += 509) {
    const Result<MediumListing> listing = List(std::span(medium).first(cut));
    ASSERT_THAT(listing, IsOk()) << cut << listing.status().hint();
    ASSERT_TRUE(listing->append) << cut;
    ASSERT_EQ(listing->append->offset, foreign.size()) << cut;
  }
}

TEST(ForeignAppend, LeavesAloneWhatItCannotGoOnWith) {
  ForeignForm large{.soft_filemark_units = 16};
  const Result<MediumListing> listing = List(ForeignMediumBuilder(large).Build());
  ASSERT_THAT(listing, IsOk());
  EXPECT_FALSE(listing->append);
  EXPECT_EQ(listing->sets.size(), 1U);
}

TEST(ForeignAppend, NeedsNamesThatFitTheirBlocks) {
  const ForeignForm form{.format_logical_block = 512};
  const Result<MediumListing> listing = List(ForeignMediumBuilder(form).Build());
  ASSERT_THAT(listing, IsOk());
  BackupSet set = SetAt(2);
  set.name.assign(128, 'n');
  set.description.assign(100, 'd');
  const auto create = [&] {
    return FamilyWriter::Create(
        {.header = listing->header, .set = set, .form = {}, .append = listing->append});
  };
  EXPECT_THAT(create(), HasReason(3244));
  set = SetAt(2);
  EXPECT_THAT(create(), IsOk());
  set.files[0].physical_name.assign(200, 'f');
  EXPECT_THAT(create(), HasReason(3244));
  set = SetAt(3);
  EXPECT_THAT(create(), test::HasCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace capstan::media
