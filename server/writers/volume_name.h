// The name of a volume (a file system) that holds files of a database: its mount point where there
// is one.
#pragma once

#include <string>

#include <sys/types.h>

namespace capstan::writers {

std::string VolumeName(dev_t device);

}  // namespace capstan::writers
