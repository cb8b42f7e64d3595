// ClusterPlace: a data directory as files: whose it is, who is using it, how its files are written
// so that they last. Nothing here needs a server.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "server/writers/durable_file.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

// To whom files of a cluster belong.
struct FileOwner {
  uid_t user = 0;
  gid_t group = 0;
};

// That of the directory if it exists and is not root's; for root otherwise user "postgres"; else
// this process. kFailedPrecondition if there is no such user.
Result<FileOwner> OwnerOfCluster(const std::string& data_directory);

// The process that postmaster.pid names, if it lives and is PostgreSQL's; 0: none.
pid_t RunningPostmaster(const std::string& data_directory);
// Error 3101, with the process in its hint, if there is one. A private server whose starter was
// killed is given some seconds to end.
Status CheckNotRunning(const std::string& data_directory);

// The folder in the data directory that a private server has for itself (PrivateRecovery).
inline constexpr std::string_view kPrivateFolder = "capstan.private";
std::string PrivateFolderPath(const std::string& data_directory);
// A lock on that folder, which each process of the server inherits: it is free once all of them are
// gone, however they went. Error 3101 if they do not go.
Result<UniqueFd> LockPrivateFolder(const std::string& data_directory);

bool PathExists(const std::string& path);
// Through links; what is not there stays as it is.
std::string RealPath(const std::string& path);
// Entries but "." and "..", and "lost+found".
Result<bool> DirectoryIsEmpty(const std::string& path);

// mkdir -p, the new ones 0700 and the owner's.
Status MakeDirectories(const std::string& path, const FileOwner& owner);
// Everything in the directory, not itself. What is not there is fine. Does not follow links.
Status RemoveContents(const std::string& directory);

Status SyncDirectory(const std::string& directory);
// Everything written to the file system of `path` so far.
Status SyncFileSystem(const std::string& path);
// Under a temporary name first, so that the file is the old or the new one; 0600, durable.
Status WriteFileDurably(const std::string& path, std::span<const std::byte> bytes,
                        const FileOwner& owner);
Status WriteFileDurably(const std::string& path, std::string_view text, const FileOwner& owner);
Status RenameDurably(const std::string& from, const std::string& to);

}  // namespace capstan::writers
