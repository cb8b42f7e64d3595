// Drives and libraries that are real, or that somebody else emulates: reached over iSCSI, or
// through the kernel's st and sg drivers.
//
//   iscsi://[user%password@]host[:port]/target-iqn/lun   drives and changers
//   /dev/nst0                                            drives, by the kernel's st driver
//   /dev/sg3, /dev/sch0                                  changers
#pragma once

#include <memory>
#include <string>

#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

// Opens and reserves the drive; a cartridge need not be in it. os_error is EBUSY if somebody else
// has it.
Failure OpenScsiDrive(const std::string& url, std::unique_ptr<TapeDrive>* drive);

Failure OpenScsiChanger(const std::string& url, std::unique_ptr<MediumChanger>* changer);

}  // namespace capstan::tape
