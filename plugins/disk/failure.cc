#include "plugins/disk/failure.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace capstan::disk {

Failure Failure::Unable(int os_error, const char* what, const std::string& path) {
  return Of(os_error, std::string("unable to ") + what + " medium '" + path + "'");
}

void FillError(const Failure& failure, capstan_error* error) {
  error->os_error = failure.os_error;
  std::size_t size = std::min(failure.message.size(), sizeof(error->message) - 1);
  if (size < failure.message.size()) {
    while (size > 0 && (static_cast<unsigned char>(failure.message[size]) & 0xC0U) == 0x80U) {
      --size;
    }
  }
  std::memcpy(error->message, failure.message.data(), size);
  error->message[size] = '\0';
}

std::uint32_t CompletionCodeOf(int os_error, std::int32_t op) {
  switch (os_error) {
    case ENOSPC:
    case EDQUOT:
      return kDiskFull;
    case EFBIG:
      return kFileTooLarge;
    case EACCES:
    case EPERM:
    case EROFS:
      return kAccessDenied;
    default:
      return op == CAPSTAN_OP_READ ? kReadFault : kWriteFault;
  }
}

}  // namespace capstan::disk
