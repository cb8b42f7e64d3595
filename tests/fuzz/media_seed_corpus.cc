// Writes the seeds of media_reader_fuzz into a directory: small media in good order, from which the
// fuzzer starts.
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/unit/server/media/resumed_family.h"

namespace {

bool Write(const std::string& path, const std::vector<std::byte>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return file.good();
}

using namespace capstan::media;  // NOLINT(google-build-using-namespace): the whole program

// Two frames, of which the first one became void when the backup was gone on with.
std::vector<std::byte> GoneOnWith(const SetForm& form) {
  const auto options = [&form](std::uint64_t preamble_size) {
    return FamilyOptions{.header = HeaderOf(form),
                         .set = SetOf(form),
                         .form = {},
                         .append = {},
                         .preamble_size = preamble_size};
  };
  FamilySession first(options(0), {});
  first.PutPreamble();
  const std::size_t preamble_size = first.medium().size();
  first.Add({.length = 100, .sequence = 0});
  FamilySession second(options(preamble_size), first.medium());
  MakeVoid(std::span(second.medium()).subspan(preamble_size, kPhysicalBlock));
  second.writer().AdoptFrame(first.extents().front().AsVoid());
  second.PutPreamble();
  second.Add({.length = 100, .sequence = std::uint64_t{1} << 32});
  second.End();
  return std::move(second.medium());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: media_seed_corpus DIRECTORY\n", stderr);
    return 2;
  }
  const std::string directory = argv[1];
  MediumBuilder one(TestHeader(), TestSet(65536));
  one.Add({.file_index = 1, .length = 100, .sequence = 0});
  const Medium empty = MediumBuilder(TestHeader(), TestSet(65536)).Finish();
  const bool written = Write(directory + "/no-frames", empty.bytes) &&
                       Write(directory + "/one-frame", one.Finish().bytes) &&
                       Write(directory + "/gone-on-with", GoneOnWith(kForms[0])) &&
                       Write(directory + "/gone-on-with-packed", GoneOnWith(kForms[1]));
  return written ? 0 : 1;
}
