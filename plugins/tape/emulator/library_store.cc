#include "plugins/tape/emulator/library_store.h"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include "plugins/tape/emulator/generation.h"

namespace capstan::tape {
namespace {

// Whoever changes something does so in milliseconds.
constexpr std::chrono::milliseconds kPatience{5'000};
// Whoever asks who has a drive takes its lock for an instant.
constexpr std::chrono::milliseconds kDrivePatience{100};
constexpr const char* kParametersFile = "/library.toml";

Failure NoLibrary(const std::string& directory) {
  return {.os_error = ENOENT,
          .message = "'" + directory + "' is no tape library",
          .hint = "'capstan tape library create' makes one"};
}

Failure MakeFolders(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!error && !std::filesystem::is_empty(directory, error) && !error) {
    return {.os_error = EEXIST,
            .message = "folder '" + directory + "' is not empty",
            .hint = "a tape library needs a folder that is empty, or not there yet"};
  }
  for (const char* const folder : {"/cartridges", "/locks"}) {
    if (!error) {
      std::filesystem::create_directory(directory + folder, error);
    }
  }
  return error ? FileFailure(error.value(), "create", directory) : Failure();
}

}  // namespace

std::string ElementName(std::uint32_t address) {
  if (address >= kFirstSlotAddress) {
    return "slot " + std::to_string(address - kFirstSlotAddress + 1);
  }
  if (address >= kFirstPortAddress) {
    return "port " + std::to_string(address - kFirstPortAddress + 1);
  }
  if (address >= kFirstDriveAddress) {
    return "drive " + std::to_string(address - kFirstDriveAddress);
  }
  return "picker";
}

Failure LibraryStore::Open(const std::string& directory, LibraryStore* store) {
  store->directory_ = directory;
  store->parameters_ = {};
  const std::string path = directory + kParametersFile;
  std::string text;
  Failure failure = ReadText(path, &text);
  if (failure.os_error == ENOENT || failure.os_error == ENOTDIR) {
    return NoLibrary(directory);
  }
  return failure.failed() ? failure : ParseParameters(text, path, &store->parameters_);
}

Failure LibraryStore::Create(const std::string& directory, const LibraryParameters& parameters,
                             LibraryStore* store) {
  store->directory_ = directory;
  store->parameters_ = parameters;
  if (parameters.capacity_bytes == 0) {
    const Generation* const generation = FindGeneration(parameters.generation);
    store->parameters_.capacity_bytes = generation == nullptr ? 0 : generation->capacity_bytes;
  }
  Failure failure = CheckParameters(store->parameters_);
  if (!failure.failed()) {
    failure = MakeFolders(directory);
  }
  if (!failure.failed()) {
    failure = ReplaceText(store->StatePath(), FormatState({}));
  }
  // Last: with it the folder is a library.
  if (!failure.failed()) {
    failure = ReplaceText(directory + kParametersFile, FormatParameters(store->parameters_));
  }
  return failure;
}

std::string LibraryStore::ImagePath(const std::string& barcode) const {
  return directory_ + "/cartridges/" + barcode + ".tap";
}

std::string LibraryStore::RecordPath(const std::string& barcode) const {
  return directory_ + "/cartridges/" + barcode + ".toml";
}

bool LibraryStore::IsDrive(std::uint32_t address) const {
  return address >= kFirstDriveAddress && address - kFirstDriveAddress < parameters_.drives;
}

bool LibraryStore::HasElement(std::uint32_t address) const {
  return IsDrive(address) || address == kPickerAddress ||
         (address >= kFirstSlotAddress && address - kFirstSlotAddress < parameters_.slots) ||
         (address >= kFirstPortAddress && address - kFirstPortAddress < parameters_.ports);
}

Failure LibraryStore::ReadState(LibraryState* state) const {
  *state = {};
  std::string text;
  Failure failure = ReadText(StatePath(), &text);
  return failure.failed() ? failure : ParseState(text, StatePath(), state);
}

Failure LibraryStore::ReadCartridge(const std::string& barcode, CartridgeRecord* record) const {
  *record = {};
  if (Failure failure = CheckBarcode(barcode); failure.failed()) {
    return failure;
  }
  std::string text;
  Failure failure = ReadText(RecordPath(barcode), &text);
  if (failure.os_error == ENOENT) {
    return {.os_error = ENOENT,
            .message = "there is no cartridge '" + barcode + "' in '" + directory_ + "'",
            .hint = "'capstan tape library list' shows those that are there"};
  }
  return failure.failed() ? failure : ParseCartridge(text, RecordPath(barcode), record);
}

Failure LibraryStore::Lock(FileLock* lock) const {
  return FileLock::Take(directory_ + "/locks/library.lock", "library '" + directory_ + "'",
                        kPatience, lock);
}

Failure LibraryStore::LockDrive(std::uint32_t index, FileLock* lock) const {
  if (index >= parameters_.drives) {
    return {.os_error = ENXIO,
            .message = "library '" + directory_ + "' has no drive " + std::to_string(index),
            .hint = "its drives are 0 to " + std::to_string(parameters_.drives - 1)};
  }
  return FileLock::Take(DriveLockPath(index),
                        "drive " + std::to_string(index) + " of library '" + directory_ + "'",
                        kDrivePatience, lock);
}

int LibraryStore::DriveHolder(std::uint32_t index) const {
  return FileLock::HolderOf(DriveLockPath(index));
}

Failure LibraryStore::ChangeState(const std::function<Failure(LibraryState&)>& change) const {
  FileLock lock;
  LibraryState state;
  Failure failure = Lock(&lock);
  if (!failure.failed()) {
    failure = ReadState(&state);
  }
  if (!failure.failed()) {
    failure = change(state);
  }
  return failure.failed() ? failure : ReplaceText(StatePath(), FormatState(state));
}

Failure LibraryStore::ChangeCartridge(
    const std::string& barcode, const std::function<Failure(CartridgeRecord&)>& change) const {
  FileLock lock;
  CartridgeRecord record;
  Failure failure = Lock(&lock);
  if (!failure.failed()) {
    failure = ReadCartridge(barcode, &record);
  }
  if (!failure.failed()) {
    failure = change(record);
  }
  return failure.failed() ? failure : ReplaceText(RecordPath(barcode), FormatCartridge(record));
}

}  // namespace capstan::tape
