// make_tape_library FOLDER: an emulated library of one drive, with a cartridge in it.
#include <cstdio>

#include "plugins/tape/emulator/emulated_library.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    return 2;
  }
  capstan::tape::EmulatedLibrary library;
  std::string remark;
  capstan::tape::Failure failure = capstan::tape::EmulatedLibrary::Create(
      argv[1],
      {.drives = 1, .slots = 2, .capacity_bytes = 1U << 30U, .early_warning_bytes = 1U << 20U},
      &library);
  if (!failure.failed()) {
    failure = library.AddBlank({.barcode = "CAP001L8"});
  }
  if (!failure.failed()) {
    failure = library.Load("CAP001L8", 0, &remark);
  }
  if (failure.failed()) {
    std::fprintf(stderr, "%s\n", failure.message.c_str());
    return 1;
  }
  return 0;
}
