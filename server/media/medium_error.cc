#include "server/media/medium_error.h"

#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "server/messages/messages.h"

namespace capstan::media {
namespace {

bool StartsWith(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

// Files that people take for backups (S1-25), by how they begin.
std::string_view KnownFile(Bytes start) {
  constexpr std::size_t kTarMagic = 257;
  if (StartsWith(start, std::string_view("SQLite format 3\0", 16))) {
    return "a copy of an SQLite database";
  }
  if (StartsWith(start, "PGDMP")) {
    return "an archive of pg_dump";
  }
  if (start.size() > kTarMagic && StartsWith(start.subspan(kTarMagic), "ustar")) {
    return "a tar archive";
  }
  if (StartsWith(start, "\x1f\x8b")) {
    return "a gzip file";
  }
  if (StartsWith(start, "\x28\xb5\x2f\xfd")) {
    return "a zstd file";
  }
  return {};
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
  Status unknown = SqlError(3242, device_name);
  const std::string_view known = KnownFile(start);
  if (known.empty()) {
    return unknown;
  }
  return std::move(unknown).WithHint(fmt::format(
      "it is {}, which is no backup set: it has no label and no checksums, and what was "
      "copied while it was in use may be torn. Register the live database and BACKUP it",
      known));
}

Status CutOffInHead(std::string_view device_name, std::uint64_t end) {
  return SqlError(3208).WithHint(EndsAt(device_name, end));
}

Status CutOffInSet(std::string_view device_name, std::uint64_t end) {
  return SqlError(3256, device_name).WithHint(EndsAt(device_name, end));
}

}  // namespace capstan::media
