// pread and pwrite until everything is done: short transfers and EINTR are not the caller's care.
// Errors carry the operating system's number; a file that ends early is kDataLoss.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/uio.h>

#include "vdi/base/status.h"

namespace capstan::writers {

Status ReadFully(int fd, std::uint64_t offset, std::span<std::byte> target);
// As ReadFully, but what lies behind the end of the file reads as zeros.
Status ReadOrZero(int fd, std::uint64_t offset, std::span<std::byte> target);
// Uses up `parts`.
Status ReadVectorFully(int fd, std::uint64_t offset, std::span<iovec> parts);
Status WriteFully(int fd, std::uint64_t offset, std::span<const std::byte> source);

}  // namespace capstan::writers
