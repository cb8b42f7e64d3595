// Writes the seeds of media_reader_fuzz into a directory: small media in good order, from which the
// fuzzer starts.
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/unit/server/media/medium_builder.h"

namespace {

bool Write(const std::string& path, const std::vector<std::byte>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return file.good();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace capstan::media;  // NOLINT(google-build-using-namespace): the whole program
  if (argc != 2) {
    std::fputs("usage: media_seed_corpus DIRECTORY\n", stderr);
    return 2;
  }
  const std::string directory = argv[1];
  MediumBuilder one(TestHeader(), TestSet(65536));
  one.Add({.file_index = 1, .length = 100, .sequence = 0});
  const Medium empty = MediumBuilder(TestHeader(), TestSet(65536)).Finish();
  const bool written = Write(directory + "/no-frames", empty.bytes) &&
                       Write(directory + "/one-frame", one.Finish().bytes);
  return written ? 0 : 1;
}
