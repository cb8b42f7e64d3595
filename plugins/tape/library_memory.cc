#include "plugins/tape/library_memory.h"

#include <cctype>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <sys/stat.h>

#include "plugins/tape/emulator/emulated_library.h"
#include "plugins/tape/emulator/generation.h"
#include "plugins/tape/emulator/library_files.h"

namespace capstan::tape {
namespace {

constexpr const char* kRemark = "capstan-medium";

}  // namespace

Failure EmulatedMemory::ReadNote(const std::string& barcode, CartridgeNote* note) {
  std::string text;
  Failure failure = NoteOf(directory_, barcode, kRemark, &text);
  *note = ParseNote(text);
  return failure;
}

Failure EmulatedMemory::WriteNote(const std::string& barcode, const CartridgeNote& note) {
  return SetNote(directory_, barcode, kRemark, FormatNote(note));
}

bool EmulatedMemory::Describe(const std::string& barcode, ShelvedCartridge* cartridge) {
  LibraryStore store;
  CartridgeRecord record;
  if (LibraryStore::Open(directory_, &store).failed() ||
      store.ReadCartridge(barcode, &record).failed()) {
    return false;
  }
  struct stat image {};
  const bool recorded = ::stat(store.ImagePath(barcode).c_str(), &image) == 0 && image.st_size > 0;
  cartridge->size_bytes = recorded ? static_cast<std::uint64_t>(image.st_size) : 0;
  cartridge->cleaning = record.kind == CartridgeKind::kCleaning;
  const Generation* const drive = FindGeneration(store.parameters().generation);
  const Generation* const own = FindGeneration(record.generation);
  cartridge->usable =
      !cartridge->cleaning && drive != nullptr && own != nullptr && CanWrite(*drive, *own);
  cartridge->cartridge = {.barcode = barcode,
                          .write_protected = record.write_protected,
                          .worm = record.worm,
                          .capacity_bytes = record.capacity_bytes,
                          .remaining_bytes = record.capacity_bytes -
                                             std::min(record.capacity_bytes, cartridge->size_bytes),
                          .blank = !recorded};
  return true;
}

std::string NoteFolder::PathOf(const std::string& barcode) const {
  std::string name = barcode;
  for (char& letter : name) {
    letter = std::isalnum(static_cast<unsigned char>(letter)) != 0 ? letter : '_';
  }
  return folder_ + "/" + name + ".note";
}

Failure NoteFolder::ReadNote(const std::string& barcode, CartridgeNote* note) {
  if (folder_.empty()) {
    const std::lock_guard lock(mutex_);
    const auto found = notes_.find(barcode);
    *note = found == notes_.end() ? CartridgeNote() : found->second;
    return {};
  }
  std::string text;
  Failure failure = ReadText(PathOf(barcode), &text);
  *note = ParseNote(text);
  return failure.os_error == ENOENT ? Failure{} : failure;
}

Failure NoteFolder::WriteNote(const std::string& barcode, const CartridgeNote& note) {
  if (folder_.empty()) {
    const std::lock_guard lock(mutex_);
    notes_[barcode] = note;
    return {};
  }
  std::error_code error;
  std::filesystem::create_directories(folder_, error);  // ReplaceText tells what is wrong
  return ReplaceText(PathOf(barcode), FormatNote(note));
}

}  // namespace capstan::tape
