// The directory of a medium, and who writes there: each writer holds a lock (flock) on a file of
// its own beside the medium, its partial or its note, from before it looks for others until it has
// ended. The medium itself cannot carry the lock: a new one is renamed over its name.
//
// Of two that begin at once each locks before it looks, so at least one sees the other; both may be
// refused. A file system without locks leaves us without this protection, not without backup.
// Threads: any. No ownership.
#pragma once

#include <functional>
#include <string>

#include <sys/stat.h>

#include "plugins/disk/descriptor.h"
#include "plugins/disk/failure.h"
#include "plugins/disk/medium_path.h"

namespace capstan::disk {

bool SameFile(const struct stat& a, const struct stat& b);

// Whether the name in the directory is that of the open file, and no link.
bool LeadsTo(int directory, const std::string& name, int file);

// EBUSY: "medium '<path>' is held by process ..."
Failure HeldBy(int fd, const std::string& path);

// Whether someone else has locked the file exclusively.
bool IsLocked(int fd);

// EBUSY if someone else keeps it locked; `path` is the medium's, for the message.
Failure LockFile(int fd, const std::string& path);

// Calls `visit` for every name in the directory of the medium, until one call fails.
Failure ForEachName(int directory, const MediumPath& path,
                    const std::function<Failure(const char* name)>& visit);

// EBUSY if a partial or a note of the medium, other than `own_name`, is locked.
Failure CheckNoOtherWriter(int directory, const MediumPath& path, const std::string& own_name);

// The directory of the medium, opened.
Failure OpenDirectoryOf(const MediumPath& path, Descriptor* result);

// Fails when the name of the directory no longer leads to the one that was opened.
Failure CheckSameDirectory(int directory, const MediumPath& path);

// Makes names in the directory durable.
Failure SyncDirectory(int directory, const MediumPath& path);

}  // namespace capstan::disk
