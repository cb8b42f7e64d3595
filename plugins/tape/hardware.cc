#include "plugins/tape/hardware.h"

#include <map>
#include <mutex>
#include <utility>

#include "plugins/tape/emulator/emulated_library.h"
#include "plugins/tape/library_memory.h"
#include "plugins/tape/scsi/scsi_devices.h"

namespace capstan::tape {

Failure OpenDrive(const DriveAddress& address, std::unique_ptr<TapeDrive>* drive) {
  return address.url.empty() ? OpenEmulatedDrive(address.changer, address.index, drive)
                             : OpenScsiDrive(address.url, drive);
}

Failure OpenShelf(const DriveAddress& address, std::unique_ptr<Shelf>* shelf) {
  if (address.library.empty()) {
    return {};
  }
  std::unique_ptr<MediumChanger> changer;
  Failure failure = address.url.empty() ? OpenEmulatedChanger(address.changer, &changer)
                                        : OpenScsiChanger(address.changer, &changer);
  if (!failure.failed()) {
    *shelf = std::make_unique<Shelf>(std::move(changer), address.index);
  }
  return failure;
}

CartridgeMemory* MemoryOf(const DriveAddress& address, const std::string& notes) {
  if (address.library.empty()) {
    return nullptr;
  }
  // One for each library of the configuration.
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<CartridgeMemory>> memories;
  const std::lock_guard lock(mutex);
  std::unique_ptr<CartridgeMemory>& memory = memories[address.changer + "\n" + notes];
  if (memory == nullptr && address.url.empty()) {
    memory = std::make_unique<EmulatedMemory>(address.changer);
  } else if (memory == nullptr) {
    memory = std::make_unique<NoteFolder>(notes.empty() ? "" : notes + "/" + address.library);
  }
  return memory.get();
}

}  // namespace capstan::tape
