// Hardware: opens what the configuration names, be it emulated, behind a driver or on the network.
//
// Threads: any.
#pragma once

#include <memory>
#include <string>

#include "plugins/tape/cartridge_memory.h"
#include "plugins/tape/configuration.h"
#include "plugins/tape/shelf.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

Failure OpenDrive(const DriveAddress& address, std::unique_ptr<TapeDrive>* drive);
// Null for a drive that stands alone.
Failure OpenShelf(const DriveAddress& address, std::unique_ptr<Shelf>* shelf);
// Null for a drive that stands alone; lives as long as the process. `notes`: Usage::notes.
CartridgeMemory* MemoryOf(const DriveAddress& address, const std::string& notes);

}  // namespace capstan::tape
