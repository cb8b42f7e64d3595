#include "plugins/edge/failure.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>

namespace capstan::edge {
namespace {

void CopyText(std::string_view text, std::span<char> field) {
  std::size_t size = std::min(text.size(), field.size() - 1);
  if (size < text.size()) {
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0U) == 0x80U) {
      --size;
    }
  }
  std::memcpy(field.data(), text.data(), size);
  field[size] = '\0';
}

}  // namespace

void FillError(const Failure& failure, capstan_error* error) noexcept {
  error->os_error = failure.os_error;
  error->flags = failure.transient ? CAPSTAN_ERROR_TRANSIENT : 0;
  CopyText(failure.message, error->message);
  CopyText(failure.hint, error->hint);
}

std::uint32_t CompletionCodeOf(int os_error, std::int32_t op) {
  switch (os_error) {
    case ENOSPC:
    case EDQUOT:
      return CAPSTAN_E_NO_SPACE;
    case EFBIG:
      return CAPSTAN_E_FILE_TOO_LARGE;
    case EACCES:
    case EPERM:
    case EROFS:
    case EKEYREJECTED:
      return CAPSTAN_E_ACCESS_DENIED;
    case ECANCELED:
      return CAPSTAN_E_ABORTED;
    case EBADMSG:
      return CAPSTAN_E_DATA_CRC;
    case ENOTSUP:
      return CAPSTAN_E_UNSUPPORTED;
    default:
      return op == CAPSTAN_OP_READ ? CAPSTAN_E_READ_FAULT : CAPSTAN_E_WRITE_FAULT;
  }
}

}  // namespace capstan::edge
