#include "server/media/medium_error.h"

#include <fmt/format.h>

#include "server/messages/messages.h"

namespace capstan::media {
namespace {

bool StartsWith(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

std::string EndsAt(std::string_view device_name, std::uint64_t end) {
  return end == 0 ? fmt::format("the medium on device '{}' ends too early", device_name)
                  : fmt::format("the medium on device '{}' ends at byte {}", device_name, end);
}

}  // namespace

Status MediumDamaged(std::string_view device_name, std::uint64_t offset, std::string_view what) {
  return SqlError(3241, device_name).WithHint(MessageText(65004, device_name, offset, what));
}

Status NotTapeFormat(std::string_view device_name, Bytes start) {
  if (StartsWith(start, "MSSQLBAK")) {
    return SqlError(65013, device_name);
  }
  if (StartsWith(start, "TAPE")) {
    return MediumDamaged(device_name, 0, "TAPE block header");
  }
  return SqlError(3242, device_name);
}

Status CutOffInHead(std::string_view device_name, std::uint64_t end) {
  return SqlError(3208).WithHint(EndsAt(device_name, end));
}

Status CutOffInSet(std::string_view device_name, std::uint64_t end) {
  return SqlError(3256, device_name).WithHint(EndsAt(device_name, end));
}

}  // namespace capstan::media
