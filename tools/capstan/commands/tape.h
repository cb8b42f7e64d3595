// tape library: looks after emulated tape libraries. They are folders of this machine, so that
// these commands need no server.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plugins/tape/emulator/emulated_library.h"
#include "tools/capstan/session.h"
#include "tools/client/response.h"

namespace capstan::cli {

struct TapeCreateOptions {
  std::string directory;
  tape::LibraryParameters parameters;
  std::uint32_t cartridges = UINT32_MAX;  // UINT32_MAX = one for each slot that is left
  std::uint32_t worm = 0;
  std::uint32_t cleaning = 0;
};

struct TapeCartridgeOptions {
  std::string directory;
  std::string barcode;
  std::uint32_t drive_index = 0;
  bool out = false;  // eject: out of the library, not to a port
  bool yes = false;  // erase: without asking
};

struct TapeImportOptions {
  std::string directory;
  std::string item;                  // an image, or the barcode of a cartridge that is outside
  std::string new_barcode;           // a blank cartridge instead
  std::string barcode;               // of the image; empty: its file's name
  std::uint64_t capacity_bytes = 0;  // of the blank cartridge; 0 = the library's
};

struct TapeViewOptions {
  std::string directory;
  OutputFormat format = OutputFormat::kTable;
};

ExitStatus RunTapeCreate(Session& session, const TapeCreateOptions& options);
ExitStatus RunTapeList(Session& session, const TapeViewOptions& options);
ExitStatus RunTapeShow(Session& session, const TapeViewOptions& options);
ExitStatus RunTapeLoad(Session& session, const TapeCartridgeOptions& options);
ExitStatus RunTapeUnload(Session& session, const TapeCartridgeOptions& options);
ExitStatus RunTapeImport(Session& session, const TapeImportOptions& options);
ExitStatus RunTapeEject(Session& session, const TapeCartridgeOptions& options);
ExitStatus RunTapeErase(Session& session, const TapeCartridgeOptions& options);

// What failed as the other commands print it.
ExitStatus ReportTapeFailure(Console& console, const tape::Failure& failure);
// "drive 0", "slot 1", "port 1", "outside".
std::string TapePlaceName(std::uint32_t address);

}  // namespace capstan::cli
