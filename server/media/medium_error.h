// The errors of media that are not what they should be, so that every reader words them alike.
// Internal to server/media.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "server/media/mtf_values.h"
#include "vdi/base/status.h"

namespace capstan::media {

// 3241, with device, byte and `what` in the hint.
Status MediumDamaged(std::string_view device_name, std::uint64_t offset, std::string_view what);

inline bool IsDamage(const Status& status) {
  return status.reason() == 3241;
}

// For readers that go on without what is damaged.
template <typename T>
Result<std::optional<T>> NothingIfDamaged(Result<std::optional<T>> found) {
  if (!found.ok() && IsDamage(found.status())) {
    return std::optional<T>();
  }
  return found;
}

// For a medium that begins with `start` instead of a sound TAPE block: 3241 if it is a broken one,
// 65013 for SQL Server's compressed container, otherwise 3242, which says what else the file is if
// that is well known.
Status NotTapeFormat(std::string_view device_name, Bytes start);

// 3208 before the frames, 3256 behind; `end` is where it ends, 0 if unknown.
Status CutOffInHead(std::string_view device_name, std::uint64_t end);
Status CutOffInSet(std::string_view device_name, std::uint64_t end);

}  // namespace capstan::media
