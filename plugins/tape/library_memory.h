// What is known of the cartridges of a library, and where that is kept: in an emulated one in the
// cartridges' own memory; of a real one in a folder, or in this process alone.
//
// Threads: any.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "plugins/tape/cartridge_memory.h"

namespace capstan::tape {

class EmulatedMemory final : public CartridgeMemory {
 public:
  explicit EmulatedMemory(std::string directory) : directory_(std::move(directory)) {}

  Failure ReadNote(const std::string& barcode, CartridgeNote* note) override;
  Failure WriteNote(const std::string& barcode, const CartridgeNote& note) override;
  bool lasts() const override { return true; }
  bool Describe(const std::string& barcode, ShelvedCartridge* cartridge) override;

 private:
  const std::string directory_;
};

// One small file for each cartridge.
class NoteFolder final : public CartridgeMemory {
 public:
  // `folder` empty: notes last as long as the process.
  explicit NoteFolder(std::string folder) : folder_(std::move(folder)) {}

  Failure ReadNote(const std::string& barcode, CartridgeNote* note) override;
  Failure WriteNote(const std::string& barcode, const CartridgeNote& note) override;
  bool lasts() const override { return !folder_.empty(); }
  bool Describe(const std::string&, ShelvedCartridge*) override { return false; }

 private:
  // Barcodes are read by machines: whatever is not a letter or a number becomes '_'.
  std::string PathOf(const std::string& barcode) const;

  const std::string folder_;
  std::mutex mutex_;
  std::map<std::string, CartridgeNote> notes_;  // guarded by mutex_; without a folder
};

}  // namespace capstan::tape
