// Chains of SQLite backups in tests: sets as values, taken and put back through the writer's
// interface as the engine does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/writers/sqlite/sqlite_writer.h"
#include "tests/support/sqlite_fixture.h"

namespace capstan::test {

// One backup set.
struct ChainSet {
  writers::BackupKind kind = writers::BackupKind::kFull;
  Guid guid;
  writers::LsnRange lsns;
  Guid fork;
  std::string writer_data;
  writers::DatabaseFile file;
  std::vector<std::pair<writers::Extent, std::string>> extents;
  std::uint64_t kept_bytes = 0;  // of an interrupted backup

  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [extent, contents] : extents) {
      sum += extent.length;
    }
    return sum;
  }
  writers::DifferentialBase AsBase() const {
    return {.backup_set_guid = guid, .lsns = lsns, .writer_data = writer_data};
  }
};

struct TakeOptions {
  writers::BackupOptions backup;
  bool commit = true;
  std::uint32_t length_max = 1 << 20;
  // Of a full backup: what an interrupted one has copied. What is kept of it is in the set.
  std::vector<std::pair<writers::Extent, std::string>> interrupted = {};
};

inline Result<ChainSet> TakeSet(writers::DatabaseWriter& writer, const std::string& path,
                                const TakeOptions& options) {
  CAPSTAN_ASSIGN_OR_RETURN(auto session, writer.BeginBackup(path, "db", options.backup));
  ChainSet set{.kind = options.backup.kind, .guid = Guid::Random()};
  set.writer_data = session->writer_data();
  set.fork = session->recovery_fork();
  for (const auto& [extent, contents] : options.interrupted) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool kept,
                             session->Keeps(extent, std::as_bytes(std::span(contents))));
    if (kept) {
      set.kept_bytes += extent.length;
      set.extents.emplace_back(extent, contents);
    }
  }
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(auto extent, session->NextExtent(0, options.length_max));
    if (!extent) {
      break;
    }
    std::string contents(extent->length, '\xee');
    CAPSTAN_RETURN_IF_ERROR(
        session->ReadExtent(*extent, std::as_writable_bytes(std::span(contents))));
    set.extents.emplace_back(*extent, std::move(contents));
  }
  CAPSTAN_RETURN_IF_ERROR(session->End());
  set.lsns = session->lsns();
  set.file = session->description().files[0];
  if (options.commit) {
    session->Committed();
  }
  return set;
}

inline Result<ChainSet> TakeFull(writers::DatabaseWriter& writer, const std::string& path) {
  return TakeSet(writer, path, {});
}

inline Result<ChainSet> TakeDifferential(writers::DatabaseWriter& writer, const std::string& path,
                                         const ChainSet& base) {
  return TakeSet(writer, path,
                 {.backup = {.kind = writers::BackupKind::kDifferential, .base = base.AsBase()}});
}

inline Result<ChainSet> TakeLog(writers::DatabaseWriter& writer, const std::string& path,
                                writers::Lsn from,
                                writers::LogTail tail = writers::LogTail::kNone) {
  return TakeSet(writer, path,
                 {.backup = {.kind = writers::BackupKind::kLog,
                             .log_from = from,
                             .tail = tail,
                             .lock_deadline = Deadline::After(std::chrono::seconds(10))}});
}

struct PutOptions {
  writers::RestoreEnd end = writers::RestoreEnd::kNoRecovery;
  writers::StopPoint stop;
  bool replace = true;
  std::string job_name = "job-1";
};

// The extents come back to front, as families may deliver them in any order.
inline Result<writers::RestoreOutcome> PutSet(writers::DatabaseWriter& writer,
                                              const std::string& path, const ChainSet& set,
                                              const PutOptions& options = {}) {
  const writers::RestoreTarget target{.file = set.file, .physical_name = path};
  CAPSTAN_ASSIGN_OR_RETURN(auto session,
                           writer.BeginRestore({&target, 1}, {.replace = options.replace,
                                                              .job_name = options.job_name,
                                                              .lock_deadline = Deadline::Now(),
                                                              .kind = set.kind,
                                                              .lsns = set.lsns,
                                                              .writer_data = set.writer_data,
                                                              .end = options.end,
                                                              .stop = options.stop}));
  for (std::size_t i = set.extents.size(); i-- > 0;) {
    const auto& [extent, contents] = set.extents[i];
    CAPSTAN_RETURN_IF_ERROR(session->WriteExtent(extent, std::as_bytes(std::span(contents))));
  }
  return session->Commit();
}

}  // namespace capstan::test
