// Writes a medium as another program's backup leaves it: foreign_medium_process PATH.
#include <cstdio>
#include <fstream>

#include "tests/unit/server/media/foreign_medium.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s PATH\n", argv[0]);
    return 2;
  }
  const capstan::media::ByteVector medium =
      capstan::media::ForeignMediumBuilder({.soft_filemark_units = 2}).Build();
  std::ofstream file(argv[1], std::ios::binary);
  file.write(reinterpret_cast<const char*>(medium.data()),
             static_cast<std::streamsize>(medium.size()));
  file.close();
  return file ? 0 : 1;
}
