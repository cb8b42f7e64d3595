// CartridgeMemory: what is known of the cartridges of a library without mounting them, by barcode.
//
// Which cartridge belongs to which media family is noted by the plugin itself: the family has a
// name that is made when its first medium is begun, and says nothing of the format. An emulated
// library also tells what a real cartridge has in its chip; of others that is known only in a
// drive.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/tape/failure.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

struct CartridgeNote {
  std::string family;          // empty: nothing was noted
  std::uint32_t sequence = 0;  // of the medium in its family, from 1; 0: unknown
  std::string drive;           // which wrote it last, "vault/0"
  std::string token;           // of the writing that wrote it last
  std::int64_t used_unix_s = 0;
};

struct ShelvedCartridge {
  MountedCartridge cartridge;
  bool cleaning = false;
  bool usable = true;            // by the generation of the library's drives
  std::uint64_t size_bytes = 0;  // recorded
};

class CartridgeMemory {
 public:
  virtual ~CartridgeMemory() = default;

  virtual Failure ReadNote(const std::string& barcode, CartridgeNote* note) = 0;
  virtual Failure WriteNote(const std::string& barcode, const CartridgeNote& note) = 0;
  // Whether notes outlive the process.
  virtual bool lasts() const = 0;
  // False: only a drive can tell.
  virtual bool Describe(const std::string& barcode, ShelvedCartridge* cartridge) = 0;
};

// A note as one line of text, and back; what cannot be understood is no note.
std::string FormatNote(const CartridgeNote& note);
CartridgeNote ParseNote(const std::string& text);

}  // namespace capstan::tape
