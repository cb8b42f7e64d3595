// Retention: which backup sets may go. Pure.
//
// Kept are so many full backups, or every point in time of so many days, and with them everything
// that can follow a kept full backup: differentials that name it, and log sets that go further than
// it does. A full backup goes with all its differentials, or not at all. What only a kept medium
// keeps (it holds other sets as well) stays with it and holds nothing else back.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "server/catalog/catalog.h"

namespace capstan::engine {

// Exactly one of the two is more than 0.
struct RetentionPolicy {
  int keep_full = 0;  // of each database: so many full backups that are not copy-only
  int keep_days = 0;
  std::int64_t now_unix_s = 0;
};

struct RetentionCandidate {
  const catalog::KnownSet* known = nullptr;
  // False: it cannot be restored (media or key missing, damaged), so it is not one of the full
  // backups that are kept.
  bool usable = true;
  // Why it stays whatever the policy says: "the database was not named". Empty: nothing does.
  std::string pinned = {};
};

struct RetentionVerdict {
  bool goes = false;
  std::string reason;  // a clause, of what goes as well
};

// One verdict per candidate, in their order. Candidates are all sets that are not expired, of all
// databases that share media with one that the policy is for.
std::vector<RetentionVerdict> DecideRetention(std::span<const RetentionCandidate> candidates,
                                              const RetentionPolicy& policy);

}  // namespace capstan::engine
