// Writes the seeds of sqlserver_media_fuzz into a directory: media in good order of several
// versions, real ones if it is told where, and the small pieces that are parsed by themselves.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/sqlserver_media.h"
#include "tests/support/xpress_encoder.h"

namespace {

using Buffer = std::vector<std::byte>;

bool failed = false;

void Write(const std::string& path, char what, const Buffer& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.put(what);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  failed = failed || !file.good();
}

void WriteMedium(const std::string& path, const Buffer& bytes) {
  constexpr char kRepair = 8;
  Write(path + "-list", 0 | kRepair, bytes);
  Write(path + "-walk", 1 | kRepair, bytes);
  Write(path + "-verify", 2, bytes);
  Write(path + "-verify-repaired", 2 | kRepair, bytes);
}

void WriteSamples(const std::string& directory, const std::string& samples) {
  constexpr std::uintmax_t kSizeMax = 128 << 10;  // larger ones only slow the fuzzer down
  std::error_code error;
  int number = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(samples, error)) {
    if (!entry.is_regular_file() || entry.file_size() > kSizeMax) {
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto bytes = std::as_bytes(std::span(text));
    WriteMedium(directory + "/sample-" + std::to_string(++number), {bytes.begin(), bytes.end()});
  }
}

}  // namespace

int main(int argc, char** argv) {
  using capstan::test::MakeSqlServerMedium;
  if (argc < 2 || argc > 3) {
    std::fputs("usage: sqlserver_seed_corpus DIRECTORY [SAMPLES]\n", stderr);
    return 2;
  }
  const std::string directory = argv[1];
  for (const int major : {9, 10, 13, 17}) {
    const std::string name = directory + "/version-" + std::to_string(major);
    WriteMedium(name, MakeSqlServerMedium({.major = major, .extents = 0}).bytes);
    WriteMedium(name + "-log", MakeSqlServerMedium({.major = major, .type = 'L'}).bytes);
    WriteMedium(name + "-4k",
                MakeSqlServerMedium(
                    {.major = major, .mark_size = 4096, .checksums = true, .sets = 2, .extents = 0})
                    .bytes);
    if (major >= 10) {
      WriteMedium(
          name + "-compressed",
          MakeSqlServerMedium({.major = major, .compressed = true, .sets = 2, .extents = 1}).bytes);
    }
  }
  Write(directory + "/chunk", 3, capstan::test::CompressXpressHuffman(Buffer(3000, std::byte{5})));
  if (argc == 3) {
    WriteSamples(directory, argv[2]);
  }
  return failed ? 1 : 0;
}
