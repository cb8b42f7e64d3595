#include "plugins/disk/recovery.h"

#include <cerrno>

#include "capstan/plugin.h"
#include "plugins/disk/appending.h"
#include "plugins/disk/construction.h"

namespace capstan::disk {
namespace {

Failure Commit(const MediumPath& path, const std::string& token) {
  Failure failure = Appending::RecoverCommit(path, token);
  if (failure.os_error != ENOENT) {
    return failure;
  }
  // No note: the append was complete before, or it was no append.
  return Appending::HasAppended(path, token) ? Failure::None()
                                             : Construction::RecoverCommit(path, token);
}

Failure Discard(const MediumPath& path, const std::string& token) {
  if (Failure failure = Appending::RecoverDiscard(path, token); failure.failed()) {
    return failure;
  }
  return Appending::HasAppended(path, token) ? Appending::TakeBack(path, token)
                                             : Construction::RecoverDiscard(path, token);
}

}  // namespace

Failure Recover(const MediumPath& path, const std::string& token, std::uint32_t action) {
  if (!IsToken(token)) {
    return Failure::Of(EINVAL, "token '" + token + "' cannot be one of ours");
  }
  switch (action) {
    case CAPSTAN_RECOVER_COMMIT:
      return Commit(path, token);
    case CAPSTAN_RECOVER_DISCARD:
      return Discard(path, token);
    default:
      return Failure::Of(EINVAL, "unknown recover action " + std::to_string(action));
  }
}

}  // namespace capstan::disk
