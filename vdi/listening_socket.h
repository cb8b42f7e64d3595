// ListeningSocket: a Unix seqpacket socket bound to a path, and its file's whole life.
//
// Takes the place of the file that a dead server left behind, never that of a live one; the two are
// told apart under a lock on the folder, so that two servers that start together cannot both win.
#pragma once

#include <string>

#include <sys/types.h>

#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::vdi {

class ListeningSocket {
 public:
  // kInvalidArgument: the path is too long for a socket, or something else than a socket is there.
  // kAlreadyExists: a live server listens there.
  static Result<ListeningSocket> Bind(const std::string& path, mode_t mode);

  ListeningSocket(ListeningSocket&& other) noexcept = default;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();  // removes the file, if it is still ours

  int fd() const { return fd_.get(); }

 private:
  ListeningSocket(UniqueFd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

  UniqueFd fd_;  // invalid: moved from
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

// A connected seqpacket socket. kInvalidArgument: the path is too long; kUnavailable: nobody
// listens there; kPermissionDenied.
Result<UniqueFd> ConnectSocket(const std::string& path);

}  // namespace capstan::vdi
