// Media for tests/conformance/media/test_mtfdump.py, made by server/media: spanned ones, and sets
// of ours behind another writer's. Usage: write_media DIRECTORY
#include <cstdio>
#include <fstream>
#include <string>

#include <fmt/format.h>

#include "tests/unit/server/media/foreign_medium.h"
#include "tests/unit/server/media/memory_source.h"
#include "tests/unit/server/media/resumed_family.h"
#include "tests/unit/server/media/span_builder.h"

namespace capstan::media {
namespace {

void Write(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

void WriteAll(const std::string& prefix, SpanBuilder builder) {
  int number = 0;
  for (const Tape& tape : builder.Take()) {
    Write(fmt::format("{}-{}.bak", prefix, ++number), tape.bytes);
  }
}

// Medium 1 has two frames, medium 2 three, medium 3 one and the end.
SpanBuilder Spanned() {
  SpanBuilder builder({});
  builder.Add(2);
  builder.NextMedium();
  builder.Add(3);
  builder.NextMedium();
  builder.Add(1);
  builder.End();
  return builder;
}

// Medium 1 is full amid the end of the set.
SpanBuilder CutAmidItsEnd(std::uint64_t limit) {
  SpanBuilder builder({});
  builder.Add(3);
  if (limit > 0) {
    builder.End(limit);
  }
  builder.NextMedium(/*only_end_follows=*/true);
  builder.End();
  return builder;
}

enum class LastSetMap { kWhole, kShort };

std::vector<std::byte> AppendTo(const std::vector<std::byte>& bytes,
                                LastSetMap set_map = LastSetMap::kWhole) {
  MemorySource source(bytes);
  Result<MediumListing> listing = ReadListing(source);
  EXPECT_THAT(listing, test::IsOk());
  if (set_map == LastSetMap::kShort) {
    listing->append->set_map->erase(listing->append->set_map->begin());
  }
  BackupSet set = TestSet(65536);
  set.position = listing->append->position;
  set.backup_set_guid = TestGuid(static_cast<std::uint8_t>(0x40 + set.position));
  MediumBuilder builder(
      {.header = listing->header, .set = set, .form = {}, .append = listing->append}, bytes);
  for (std::uint32_t i = 0; i < 3; ++i) {
    builder.Add({.file_offset = i * 8192U, .length = 4096 + i, .sequence = i});
  }
  return builder.Finish().bytes;
}

void WriteForeign(const std::string& directory) {
  for (const std::uint16_t block : {std::uint16_t{512}, std::uint16_t{1024}}) {
    for (const std::uint16_t units : {std::uint16_t{1}, std::uint16_t{2}, std::uint16_t{8}}) {
      for (const bool set_map : {false, true}) {
        const ForeignForm form{.format_logical_block = block,
                               .soft_filemark_units = units,
                               .set_map = set_map,
                               .bytes_as_addresses = !set_map && units == 2,
                               .sets = static_cast<std::uint16_t>(set_map ? 2 : 1)};
        Write(fmt::format("{}/foreign-{}-{}-{}.bkf", directory, block, units, set_map),
              AppendTo(AppendTo(ForeignMediumBuilder(form).Build())));
      }
    }
  }
}

// Set maps beyond 1 MiB: the first of three foreign sets has no room in ours. And one that leaves
// out a set for no reason.
void WriteLongSetMaps(const std::string& directory) {
  const ForeignForm form{.set_map = true, .sets = 3, .volumes = 4500};
  Write(directory + "/long-map.bkf", AppendTo(AppendTo(ForeignMediumBuilder(form).Build())));
  Write(directory + "/short-map.bak", AppendTo(AppendTo(SmallMedium().bytes), LastSetMap::kShort));
}

// A backup that was gone on with: of its first session's three frames the second one is void, and
// the next session has read its bytes again. The preamble has far more room than it needs now.
std::vector<std::byte> GoneOnWith(const SetForm& form) {
  NumberedAuthenticator::Seen proved;
  NumberedAuthenticator before(&proved), after(&proved);
  FamilyOptions options{.header = HeaderOf(form), .set = SetOf(form), .form = {}, .append = {}};
  options.set.writer_data.assign(20000, 'x');
  options.authenticator = form.encrypted ? &before : nullptr;
  FamilySession first(options, {});
  first.PutPreamble();
  options.preamble_size = first.medium().size();
  for (std::uint32_t i = 0; i < 3; ++i) {
    first.Add({.file_offset = i * 4096U, .length = 4096, .sequence = i});
  }
  const std::vector<Salvage::Frame> found = Salvage::Of(first.medium()).frames;

  options.restarts = 1;
  options.set.start_unix_s += 60;
  options.set.writer_data.clear();
  options.authenticator = form.encrypted ? &after : nullptr;
  FamilySession second(options, std::move(first.medium()));
  second.PutPreamble();
  for (const Salvage::Frame& frame : found) {
    const bool is_void = frame.extent.sequence == 1;
    if (is_void) {
      MakeVoid(std::span(second.medium()).subspan(frame.offset, kPhysicalBlock));
    }
    second.writer().AdoptFrame(is_void ? frame.extent.AsVoid() : frame.extent);
  }
  second.Add({.file_offset = 4096, .length = 2048, .sequence = std::uint64_t{1} << 32});
  second.Add({.file_offset = 6144, .length = 2048, .sequence = (std::uint64_t{1} << 32) + 1});
  const FamilySummary own = second.writer().summary();
  second.End({own}, 3 * 4096, own.payload_bytes);
  return std::move(second.medium());
}

void WriteMedia(const std::string& directory) {
  Write(directory + "/small.bak", SmallMedium().bytes);
  WriteAll(directory + "/spanned", Spanned());
  for (const std::uint64_t limit : {0U, 4096U, 8192U, 12288U}) {
    WriteAll(fmt::format("{}/cut{}", directory, limit), CutAmidItsEnd(limit));
  }
  for (const SetForm& form : kForms) {
    Write(fmt::format("{}/resumed-{}.bak", directory, form.name), GoneOnWith(form));
  }
  WriteForeign(directory);
  WriteLongSetMaps(directory);
}

}  // namespace
}  // namespace capstan::media

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fputs("usage: write_media DIRECTORY\n", stderr);
    return 2;
  }
  capstan::media::WriteMedia(argv[1]);
  return testing::UnitTest::GetInstance()->Passed() ? 0 : 1;
}
