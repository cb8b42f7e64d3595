// Writes media as SQL Server would have made them into a directory, for tests of the whole product:
// one of each form, a striped pair, one under the password "secret".
//
//   sqlserver_media_maker DIRECTORY
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/support/sqlserver_media.h"

namespace {

using capstan::test::MakeSqlServerMedium;
using capstan::test::SqlServerMediumOptions;

bool Make(const std::string& path, const SqlServerMediumOptions& options) {
  const auto bytes = MakeSqlServerMedium(options).bytes;
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return file.good();
}

bool MakeStripes(const std::string& path) {
  SqlServerMediumOptions options{.family_count = 2, .media_set = 7};
  options.expected_size = 2 * (MakeSqlServerMedium(options).data_size - options.mark_size);
  const bool first = Make(path + "1.bak", options);
  options.family_number = 2;
  return first && Make(path + "2.bak", options);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: sqlserver_media_maker DIRECTORY\n", stderr);
    return 2;
  }
  const std::string directory = std::string(argv[1]) + "/";
  // MD5 of "secret" in UTF-16LE.
  const std::string digest("\x09\x43\x3e\x18\x53\x38\x52\x70\xb5\x15\x11\x57\x1e\x35\xee\xca", 16);
  const bool made =
      Make(directory + "version9.bak", {.major = 9, .media_set = 1}) &&
      Make(directory + "version10.bak",
           {.major = 10, .minor = 50, .checksums = true, .media_set = 2}) &&
      Make(directory + "version13.bak",
           {.compressed = true, .media_name = "weekly", .media_set = 3}) &&
      Make(directory + "version15.trn", {.major = 15, .type = 'L', .media_set = 4}) &&
      Make(directory + "version17.bak",
           {.major = 17, .mark_size = 4096, .sets = 2, .media_set = 5}) &&
      Make(directory + "password.bak", {.media_password_md5 = digest, .media_set = 6}) &&
      MakeStripes(directory + "stripe");
  return made ? 0 : 1;
}
