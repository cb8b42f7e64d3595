#include "plugins/tape/emulator/emulated_library.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include "plugins/tape/emulator/emulated_changer.h"
#include "plugins/tape/emulator/emulated_drive.h"
#include "plugins/tape/emulator/image_scan.h"

namespace capstan::tape {
namespace {

constexpr std::uint32_t kCleaningsOfNewCartridge = 50;
constexpr std::string_view kImageExtension = ".tap";

std::optional<std::uint32_t> AddressOf(const LibraryState& state, const std::string& barcode) {
  for (const auto& [address, element] : state.full) {
    if (element.barcode == barcode) {
      return address;
    }
  }
  return std::nullopt;
}

std::optional<std::uint32_t> FreeOf(const LibraryState& state, std::uint32_t first,
                                    std::uint32_t count) {
  for (std::uint32_t address = first; address < first + count; ++address) {
    if (!state.full.contains(address)) {
      return address;
    }
  }
  return std::nullopt;
}

Failure NoFreeSlot() {
  return {.os_error = ENOSPC,
          .message = "all slots of the library are full",
          .hint = "eject a cartridge, or raise 'slots' in library.toml"};
}

Failure InDrive(const std::string& barcode, std::uint32_t address) {
  return {.os_error = EBUSY,
          .message = "cartridge '" + barcode + "' is in " + ElementName(address),
          .hint = "unload it first"};
}

std::uint64_t SizeOf(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
}

// Durable before it counts.
Failure CopyImage(const std::string& from, const std::string& to, std::uint64_t* recorded) {
  std::error_code error;
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing, error);
  if (error) {
    return FileFailure(error.value(), "copy", from);
  }
  const Descriptor file(::open(to.c_str(), O_RDWR | O_CLOEXEC));
  if (!file.valid() || ::fsync(file.get()) != 0) {
    return FileFailure(errno, "flush", to);
  }
  ImageScan scan;
  if (Failure failure = ScanImage(file.get(), SizeOf(to), &scan); failure.failed()) {
    return failure;
  }
  if (scan.index.count() == 0 && SizeOf(to) > 0) {
    return {.os_error = EINVAL,
            .message = "'" + from + "' is no image of a tape",
            .hint = "images are files in the .tap format of SIMH"};
  }
  *recorded = scan.index.end_offset();
  return {};
}

}  // namespace

Failure OpenEmulatedDrive(const std::string& library_directory, std::uint32_t drive_index,
                          std::unique_ptr<TapeDrive>* drive) {
  LibraryStore store;
  if (Failure failure = LibraryStore::Open(library_directory, &store); failure.failed()) {
    return failure;
  }
  std::unique_ptr<EmulatedDrive> opened;
  Failure failure = EmulatedDrive::Open(store, drive_index, {}, &opened);
  if (!failure.failed()) {
    *drive = std::move(opened);
  }
  return failure;
}

Failure OpenEmulatedChanger(const std::string& library_directory,
                            std::unique_ptr<MediumChanger>* changer) {
  LibraryStore store;
  Failure failure = LibraryStore::Open(library_directory, &store);
  if (!failure.failed()) {
    *changer = std::make_unique<EmulatedChanger>(std::move(store));
  }
  return failure;
}

Failure NoteOf(const std::string& library_directory, const std::string& barcode,
               const std::string& key, std::string* value) {
  LibraryStore store;
  CartridgeRecord record;
  Failure failure = LibraryStore::Open(library_directory, &store);
  if (!failure.failed()) {
    failure = store.ReadCartridge(barcode, &record);
  }
  const auto note = record.notes.find(key);
  *value = note == record.notes.end() ? std::string() : note->second;
  return failure;
}

Failure SetNote(const std::string& library_directory, const std::string& barcode,
                const std::string& key, const std::string& value) {
  LibraryStore store;
  if (Failure failure = LibraryStore::Open(library_directory, &store); failure.failed()) {
    return failure;
  }
  return store.ChangeCartridge(barcode, [&](CartridgeRecord& record) {
    if (value.empty()) {
      record.notes.erase(key);
    } else {
      record.notes[key] = value;
    }
    return Failure();
  });
}

Failure EmulatedLibrary::Create(const std::string& directory, const LibraryParameters& parameters,
                                EmulatedLibrary* library) {
  return LibraryStore::Create(directory, parameters, &library->store_);
}

Failure EmulatedLibrary::Open(const std::string& directory, EmulatedLibrary* library) {
  return LibraryStore::Open(directory, &library->store_);
}

Failure EmulatedLibrary::List(std::vector<CartridgeView>* cartridges) const {
  LibraryState state;
  if (Failure failure = store_.ReadState(&state); failure.failed()) {
    return failure;
  }
  cartridges->clear();
  std::error_code error;
  const std::filesystem::directory_iterator folder(store_.directory() + "/cartridges", error);
  if (error) {
    return FileFailure(error.value(), "list the cartridges of", store_.directory());
  }
  for (const auto& entry : folder) {
    if (entry.path().extension() != ".toml") {
      continue;
    }
    CartridgeView view;
    const std::string barcode = entry.path().stem().string();
    if (Failure failure = store_.ReadCartridge(barcode, &view.record); failure.failed()) {
      return failure;
    }
    view.used_bytes = SizeOf(store_.ImagePath(barcode));
    view.address = AddressOf(state, barcode).value_or(0);
    cartridges->push_back(std::move(view));
  }
  std::sort(cartridges->begin(), cartridges->end(),
            [](const CartridgeView& left, const CartridgeView& right) {
              return left.record.barcode < right.record.barcode;
            });
  return {};
}

Failure EmulatedLibrary::Inventory(std::vector<Element>* elements) const {
  return EmulatedChanger(store_).Inventory(elements).failure;
}

Failure EmulatedLibrary::Drives(std::vector<DriveView>* drives) const {
  LibraryState state;
  if (Failure failure = store_.ReadState(&state); failure.failed()) {
    return failure;
  }
  drives->clear();
  for (std::uint32_t index = 0; index < store_.parameters().drives; ++index) {
    DriveView view;
    if (const auto element = state.full.find(EmulatedDriveAddress(index));
        element != state.full.end()) {
      view.barcode = element->second.barcode;
      view.loaded = element->second.threading == Threading::kLoaded;
    }
    view.process = store_.DriveHolder(index);
    view.wear = state.wear[index];
    drives->push_back(std::move(view));
  }
  return {};
}

Failure EmulatedLibrary::Find(const std::string& barcode, CartridgeView* cartridge) const {
  LibraryState state;
  Failure failure = store_.ReadState(&state);
  if (!failure.failed()) {
    failure = store_.ReadCartridge(barcode, &cartridge->record);
  }
  cartridge->used_bytes = SizeOf(store_.ImagePath(barcode));
  cartridge->address = AddressOf(state, barcode).value_or(0);
  return failure;
}

// A record without an element is a cartridge outside: what a crash leaves here can be inserted.
Failure EmulatedLibrary::Add(const CartridgeRecord& record, const std::string& image) const {
  if (Failure failure = CheckBarcode(record.barcode); failure.failed()) {
    return failure;
  }
  return store_.ChangeState([&](LibraryState& state) -> Failure {
    const std::string path = store_.RecordPath(record.barcode);
    if (::access(path.c_str(), F_OK) == 0) {
      return {.os_error = EEXIST,
              .message = "there is a cartridge '" + record.barcode + "' already",
              .hint = "every barcode occurs once"};
    }
    const std::optional<std::uint32_t> slot =
        FreeOf(state, kFirstSlotAddress, store_.parameters().slots);
    if (!slot) {
      return NoFreeSlot();
    }
    CartridgeRecord stored = record;
    const std::string image_path = store_.ImagePath(record.barcode);
    if (!image.empty()) {
      if (Failure failure = CopyImage(image, image_path, &stored.recorded_bytes);
          failure.failed()) {
        ::unlink(image_path.c_str());
        return failure;
      }
      stored.capacity_bytes = std::max(stored.capacity_bytes, stored.recorded_bytes);
    } else if (!Descriptor(::open(image_path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640))
                    .valid()) {
      return FileFailure(errno, "create", image_path);
    }
    state.full[*slot] = {.barcode = record.barcode};
    return ReplaceText(path, FormatCartridge(stored));
  });
}

Failure EmulatedLibrary::AddBlank(CartridgeRecord record) const {
  const Generation* const of_barcode = GenerationOfBarcode(record.barcode);
  const LibraryParameters& parameters = store_.parameters();
  record.generation = of_barcode != nullptr ? of_barcode->name : parameters.generation;
  record.worm = record.worm || IsWormBarcode(record.barcode);
  if (record.kind == CartridgeKind::kCleaning) {
    record.capacity_bytes = 0;
    record.cleanings_left =
        record.cleanings_left == 0 ? kCleaningsOfNewCartridge : record.cleanings_left;
  } else if (record.capacity_bytes == 0) {
    record.capacity_bytes = record.generation == parameters.generation
                                ? parameters.capacity_bytes
                                : FindGeneration(record.generation)->capacity_bytes;
  }
  return Add(record, {});
}

Failure EmulatedLibrary::ImportImage(const std::string& path, const std::string& barcode) const {
  CartridgeRecord record;
  record.barcode = barcode;
  if (barcode.empty()) {
    const std::filesystem::path file(path);
    record.barcode =
        file.extension() == kImageExtension ? file.stem().string() : file.filename().string();
  }
  const Generation* const of_barcode = GenerationOfBarcode(record.barcode);
  record.generation = of_barcode != nullptr ? of_barcode->name : store_.parameters().generation;
  record.worm = IsWormBarcode(record.barcode);
  record.capacity_bytes = store_.parameters().capacity_bytes;
  return Add(record, path);
}

Failure EmulatedLibrary::Insert(const std::string& barcode) const {
  return store_.ChangeState([&](LibraryState& state) -> Failure {
    CartridgeRecord record;
    if (Failure failure = store_.ReadCartridge(barcode, &record); failure.failed()) {
      return failure;
    }
    const std::optional<std::uint32_t> address = AddressOf(state, barcode);
    if (address && *address >= kFirstSlotAddress) {
      return {.os_error = EEXIST,
              .message = "cartridge '" + barcode + "' is in " + ElementName(*address) + " already"};
    }
    if (address && store_.IsDrive(*address)) {
      return InDrive(barcode, *address);
    }
    const std::optional<std::uint32_t> slot =
        FreeOf(state, kFirstSlotAddress, store_.parameters().slots);
    if (!slot) {
      return NoFreeSlot();
    }
    if (address) {
      state.full.erase(*address);
    }
    state.full[*slot] = {.barcode = barcode, .source_address = address.value_or(0)};
    return {};
  });
}

Failure EmulatedLibrary::Eject(const std::string& barcode, Exit exit) const {
  return store_.ChangeState([&](LibraryState& state) -> Failure {
    CartridgeRecord record;
    if (Failure failure = store_.ReadCartridge(barcode, &record); failure.failed()) {
      return failure;
    }
    const std::optional<std::uint32_t> address = AddressOf(state, barcode);
    if (!address) {
      return {.os_error = ENOENT, .message = "cartridge '" + barcode + "' is outside already"};
    }
    if (store_.IsDrive(*address)) {
      return InDrive(barcode, *address);
    }
    if (exit == Exit::kPort) {
      const std::optional<std::uint32_t> port =
          FreeOf(state, kFirstPortAddress, store_.parameters().ports);
      if (*address < kFirstSlotAddress || !port) {
        return {.os_error = ENOSPC,
                .message = *address < kFirstSlotAddress
                               ? "cartridge '" + barcode + "' is in a port already"
                               : "no port of the library is free",
                .hint = "--out takes it out of the library"};
      }
      state.full[*port] = {.barcode = barcode, .source_address = *address};
    }
    state.full.erase(*address);
    return {};
  });
}

Failure EmulatedLibrary::Erase(const std::string& barcode) const {
  FileLock lock;
  LibraryState state;
  CartridgeRecord record;
  Failure failure = store_.Lock(&lock);
  if (!failure.failed()) {
    failure = store_.ReadState(&state);
  }
  if (!failure.failed()) {
    failure = store_.ReadCartridge(barcode, &record);
  }
  if (failure.failed()) {
    return failure;
  }
  const std::optional<std::uint32_t> address = AddressOf(state, barcode);
  if (address && store_.IsDrive(*address)) {
    return InDrive(barcode, *address);
  }
  if (record.worm || record.write_protected || record.kind == CartridgeKind::kCleaning) {
    return {.os_error = EROFS,
            .message = "cartridge '" + barcode + "' is " +
                       (record.worm              ? "write-once"
                        : record.write_protected ? "protected"
                                                 : "for cleaning")};
  }
  // The record first: an image that is shorter than its record says is damaged.
  record.recorded_bytes = 0;
  record.notes.clear();
  failure = ReplaceText(store_.RecordPath(barcode), FormatCartridge(record));
  if (failure.failed()) {
    return failure;
  }
  const std::string path = store_.ImagePath(barcode);
  const Descriptor image(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (!image.valid() || ::fsync(image.get()) != 0) {
    return FileFailure(errno, "erase", path);
  }
  return {};
}

Failure EmulatedLibrary::Load(const std::string& barcode, std::uint32_t drive_index,
                              std::string* remark) const {
  LibraryState state;
  CartridgeRecord record;
  Failure failure = store_.ReadState(&state);
  if (!failure.failed()) {
    failure = store_.ReadCartridge(barcode, &record);
  }
  if (failure.failed()) {
    return failure;
  }
  const std::optional<std::uint32_t> from = AddressOf(state, barcode);
  if (!from) {
    return {.os_error = ENOENT,
            .message = "cartridge '" + barcode + "' is outside of the library",
            .hint = "'capstan tape library import' brings it in"};
  }
  std::unique_ptr<EmulatedDrive> drive;
  if (failure = EmulatedDrive::Open(store_, drive_index, {}, &drive); failure.failed()) {
    return failure;
  }
  EmulatedChanger changer(store_);
  const std::uint32_t to = EmulatedDriveAddress(drive_index);
  if (Answer moved = changer.Move(*from, to); !moved.done()) {
    return moved.failure;
  }
  Answer loaded = drive->Load();
  if (loaded.done()) {
    return {};
  }
  if (Answer ejected = drive->Unload(); !ejected.done()) {
    return ejected.failure;
  }
  if (Answer moved = changer.Move(to, *from); !moved.done()) {
    return moved.failure;
  }
  if (record.kind == CartridgeKind::kCleaning && record.cleanings_left > 0) {
    *remark = "Cartridge '" + barcode + "' cleaned drive " + std::to_string(drive_index) +
              " and is good for " + std::to_string(record.cleanings_left - 1) + " more";
    return {};
  }
  return loaded.failure;
}

Failure EmulatedLibrary::Unload(std::uint32_t drive_index, std::uint32_t* to) const {
  std::unique_ptr<EmulatedDrive> drive;
  Failure failure = EmulatedDrive::Open(store_, drive_index, {}, &drive);
  if (failure.failed()) {
    return failure;
  }
  if (Answer unloaded = drive->Unload(); !unloaded.done()) {
    return unloaded.failure;
  }
  LibraryState state;
  if (failure = store_.ReadState(&state); failure.failed()) {
    return failure;
  }
  const std::uint32_t from = EmulatedDriveAddress(drive_index);
  const std::uint32_t source = state.full[from].source_address;
  if (source >= kFirstSlotAddress && store_.HasElement(source) && !state.full.contains(source)) {
    *to = source;
  } else {
    const std::optional<std::uint32_t> slot =
        FreeOf(state, kFirstSlotAddress, store_.parameters().slots);
    if (!slot) {
      return NoFreeSlot();
    }
    *to = *slot;
  }
  return EmulatedChanger(store_).Move(from, *to).failure;
}

}  // namespace capstan::tape
