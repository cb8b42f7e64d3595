// Backup sets of a cluster taken and restored by a writer, as the engine would, without media.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/writers/database_writer.h"
#include "tests/support/cluster_copy.h"
#include "vdi/base/status.h"

namespace capstan::test {

struct TakenSet {
  writers::BackupKind kind = writers::BackupKind::kFull;
  ClusterSet set;
};

// A backup that is committed.
inline Result<TakenSet> TakeSet(writers::DatabaseWriter& writer, const std::string& location,
                                const writers::BackupOptions& options) {
  auto begun = writer.BeginBackup(location, "shop", options);
  CAPSTAN_RETURN_IF_ERROR(std::as_const(begun).status());
  const std::unique_ptr<writers::BackupSession> session = *std::move(begun);
  CAPSTAN_ASSIGN_OR_RETURN(ClusterSet set, ReadCluster(*session));
  CAPSTAN_RETURN_IF_ERROR(session->End());
  set.lsns = session->lsns();
  set.recovery_fork = session->recovery_fork();
  session->Committed();
  return TakenSet{.kind = options.kind, .set = std::move(set)};
}

inline constexpr const char* kRestoreName = "7";

// `options` with what they say of the set.
inline writers::RestoreOptions OptionsFor(const TakenSet& taken, writers::RestoreOptions options) {
  options.kind = taken.kind;
  options.lsns = taken.set.lsns;
  options.writer_data = taken.set.writer_data;
  options.job_name = kRestoreName;
  return options;
}

// Hands the set over in a random order from several threads. Not committed.
inline Result<std::unique_ptr<writers::RestoreSession>> WriteSet(
    writers::DatabaseWriter& writer, const TakenSet& taken,
    std::span<const writers::RestoreTarget> targets, const writers::RestoreOptions& options) {
  CAPSTAN_ASSIGN_OR_RETURN(auto session, writer.BeginRestore(targets, OptionsFor(taken, options)));
  std::vector<std::size_t> order(taken.set.extents.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
  }
  std::shuffle(order.begin(), order.end(), std::mt19937(7));
  constexpr std::size_t kThreads = 3;
  std::vector<Status> statuses(kThreads);
  {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t i = thread; i < order.size() && statuses[thread].ok(); i += kThreads) {
          const auto& [extent, bytes] = taken.set.extents[order[i]];
          statuses[thread] = session->WriteExtent(extent, bytes);
        }
      });
    }
  }
  for (Status& status : statuses) {
    CAPSTAN_RETURN_IF_ERROR(std::move(status));
  }
  return session;
}

struct ResumedSet {
  std::unique_ptr<writers::RestoreSession> session;
  std::size_t adopted_count = 0;  // of extents
};

// Goes on with an interrupted restore as the engine does: what is right is adopted, the rest
// written. Not committed.
inline Result<ResumedSet> GoOnWithSet(writers::DatabaseWriter& writer, const TakenSet& taken,
                                      std::span<const writers::RestoreTarget> targets,
                                      writers::RestoreOptions options) {
  options.resume = true;
  ResumedSet resumed;
  CAPSTAN_ASSIGN_OR_RETURN(resumed.session,
                           writer.BeginRestore(targets, OptionsFor(taken, options)));
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < taken.set.extents.size(); ++i) {
    const auto& [extent, bytes] = taken.set.extents[i];
    std::vector<std::byte> found(bytes.size());
    CAPSTAN_RETURN_IF_ERROR(resumed.session->ReadBack(extent, found));
    if (found == bytes) {
      resumed.session->Adopt(extent);
      ++resumed.adopted_count;
    } else {
      missing.push_back(i);
    }
  }
  for (const std::size_t i : missing) {
    const auto& [extent, bytes] = taken.set.extents[i];
    CAPSTAN_RETURN_IF_ERROR(resumed.session->WriteExtent(extent, bytes));
  }
  return resumed;
}

inline Result<writers::RestoreOutcome> RestoreSet(writers::DatabaseWriter& writer,
                                                  const TakenSet& taken,
                                                  std::span<const writers::RestoreTarget> targets,
                                                  const writers::RestoreOptions& options) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto session, WriteSet(writer, taken, targets, options));
  return session->Commit();
}

}  // namespace capstan::test
