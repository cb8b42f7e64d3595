#include "plugins/tape/drive_claim.h"

#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>

namespace capstan::tape {
namespace {

struct Claims {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::string> holders;  // guarded by mutex: by drive
};

Claims& TheClaims() {
  static Claims claims;
  return claims;
}

}  // namespace

Failure DriveClaim::Take(const std::string& drive, const std::string& who,
                         std::chrono::milliseconds patience, DriveClaim* claim) {
  Claims& claims = TheClaims();
  std::unique_lock lock(claims.mutex);
  claims.changed.wait_for(lock, patience, [&] { return !claims.holders.contains(drive); });
  const auto [holder, taken] = claims.holders.emplace(drive, who);
  if (!taken) {
    return {.os_error = EBUSY,
            .message = "unable to open drive '" + drive + "': it is used by " + holder->second,
            .hint = "wait until that job has ended, or name another drive",
            .transient = true};
  }
  claim->drive_ = drive;
  return {};
}

DriveClaim::~DriveClaim() {
  if (!drive_.empty()) {
    Claims& claims = TheClaims();
    const std::lock_guard lock(claims.mutex);
    claims.holders.erase(drive_);
    claims.changed.notify_all();
  }
}

}  // namespace capstan::tape
