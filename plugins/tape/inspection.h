// What is in a drive, found out by asking and, if need be, by reading.
#pragma once

#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

// Whether nothing is recorded; where the cartridge has no memory, the drive looks. Leaves the tape
// at its beginning.
Answer InspectFromBeginning(TapeDrive& drive, MountedCartridge* cartridge);

}  // namespace capstan::tape
