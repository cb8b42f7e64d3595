// PostgresRestoreSession: a full or differential backup on its way into a data directory and its
// tablespaces.
//
// It writes in place, and only what is not there already; from its beginning until it is committed
// the directory has no control file, so that no server starts on it. Committed, it is as between
// the statements of a restore (restoring_state.h), and is then ended as the options say.
//
// A full backup is noted extent by extent as it is written (placed_extents.h), so that a session
// that is interrupted can be gone on with; a differential one begins anew.
//
// The targets are the files of the set, in its order: the data directory, each tablespace, the log.
// Threads: as RestoreSession says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/writers/database_writer.h"
#include "server/writers/direct_write_queue.h"
#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/cluster_manifest.h"
#include "server/writers/postgres/cluster_place.h"
#include "server/writers/postgres/placed_extents.h"
#include "server/writers/postgres/postgres_set.h"
#include "server/writers/postgres/restored_place.h"
#include "server/writers/postgres/restoring_state.h"
#include "server/writers/writer_state_tracker.h"
#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class PostgresRestoreSession final : public RestoreSession {
 public:
  // Error 3101 if a server runs on the directory, 3156 for a place that is not empty and may not be
  // replaced, or is none for a cluster; for a differential backup 3117 if nothing is being restored
  // there, 3136 if what is there is of another cluster, or has been recovered already. kNotFound if
  // it is to go on with what is not there, or is of another set, or of other folders.
  static Result<std::unique_ptr<PostgresRestoreSession>> Begin(
      std::span<const RestoreTarget> targets, const RestoreOptions& options,
      std::shared_ptr<WriterStateTracker> tracker);
  ~PostgresRestoreSession() override;

  Status WriteExtent(const Extent& extent, std::span<const std::byte> source) override
      CAPSTAN_EXCLUDES(mutex_);
  Status Checkpoint() override;
  bool Keep() override;
  // Zeros, which are no bundle, for an extent that is not there as it was written.
  Status ReadBack(const Extent& extent, std::span<std::byte> target) override
      CAPSTAN_EXCLUDES(mutex_);
  void Adopt(const Extent& extent) override CAPSTAN_EXCLUDES(mutex_);
  Result<RestoreOutcome> Commit() override;

 private:
  using PathInPlace = std::pair<std::uint32_t, std::string>;
  using ExtentKey = std::pair<std::uint32_t, std::uint64_t>;  // file index, offset

  // Where a part of the set goes: into a file of a place or of the log, or nowhere until the end.
  enum class Home { kPlace, kLog, kManifest, kControlFile, kLabel, kNowhere };

  // What was put together by ReadBack, until Adopt.
  struct ReadExtent {
    std::vector<BundleEntry> entries;
    std::vector<std::byte> apart;  // as PlacedExtent
  };

  PostgresRestoreSession(RestoreOptions options, PostgresSet set)
      : options_(std::move(options)), set_(std::move(set)) {}

  Status Open(std::span<const RestoreTarget> targets);
  // What must hold before anything is changed.
  Status CheckFull(std::span<const RestoreTarget> targets);
  Status CheckDifferential();
  // kNotFound unless the directory is as an interrupted restore of this set left it.
  Status CheckResumed(std::span<const RestoreTarget> targets);
  // Recovery had begun: it has changed pages, which are restored again, and its log.
  Status ForgetRecovery();
  // A folder of the set may be used. `ours`: what is in it is of the cluster that is replaced.
  Status CheckPlace(const RestoreTarget& target, bool ours) const;
  // Null: what is in the folder is compared.
  DirectWriteQueue* QueueFor(const std::string& folder);
  // From here on no server starts on the directory.
  Status BeginWriting(std::span<const RestoreTarget> targets);
  Status ChooseLogDirectory(const RestoreTarget& target);
  Status OpenLogDirectory();
  Status OpenPlacedExtents();

  // The log's file is the last one of a set, and its paths are those of the data directory.
  std::uint32_t PlaceOf(const Extent& extent) const {
    return extent.file_index < places_.size() ? extent.file_index : 0;
  }
  Home HomeOf(std::uint32_t place, const BundleEntry& entry) const;
  // Of Home::kLog: relative to the log's folder.
  static std::string PathInLog(const std::string& path);
  Status WriteParts(std::uint32_t place, std::span<const BundlePart> parts);
  Status WritePart(std::uint32_t place, const BundlePart& part) CAPSTAN_EXCLUDES(mutex_);
  // Of what is kept until the end: the control file, backup_label, the manifest.
  Status KeepPart(std::vector<std::byte>* kept, const BundlePart& part) CAPSTAN_EXCLUDES(mutex_);
  void CountTaken(std::uint32_t place, const BundleEntry& entry) CAPSTAN_EXCLUDES(mutex_);
  PlacedExtent Placed(const Extent& extent, std::span<const std::byte> source,
                      std::span<const BundlePart> parts) const;
  // Fills `target`; nullopt if something of the extent is not there.
  Result<std::optional<ReadExtent>> PutTogether(PlacedExtent placed,
                                                std::span<std::byte> target) const;
  // Takes from the front of `apart` what is there. False: it is not there any more.
  Result<bool> ReadPart(std::uint32_t place, const BundleEntry& entry,
                        std::span<const std::byte>* apart, std::span<std::byte> bytes) const;

  Result<RestoreOutcome> CommitSteps();
  Result<ClusterManifest> TakeManifest() CAPSTAN_EXCLUDES(mutex_);
  Status CheckComplete(const ClusterManifest& manifest) CAPSTAN_EXCLUDES(mutex_);
  // The places have what the manifest says, and nothing else.
  Status MatchManifest(const ClusterManifest& manifest);
  Status LinkTablespaces();
  Status CheckRestoredLog(const ClusterManifest& manifest) const;
  Status MakeDurable(const ClusterManifest& manifest);
  RestoringState StateOf(RestoringState::Phase phase) const;

  const RestoreOptions options_;
  const PostgresSet set_;
  std::string data_directory_;
  FileOwner owner_;
  UniqueFd lock_;
  bool was_empty_ = false;
  bool began_ = false;
  bool committed_ = false;
  bool kept_ = false;
  std::string log_directory_;
  DirectWriteQueue queue_{&RestoredPlace::ExplainUnwritable};  // outlives the places
  std::vector<RestoredPlace> places_;
  std::vector<RestoredPlace> log_place_;   // one, for files whose path begins with pg_wal/
  std::unique_ptr<PlacedExtents> placed_;  // of a full backup
  std::unique_ptr<WriterActivity> activity_;

  Mutex mutex_;
  std::vector<std::byte> manifest_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint64_t manifest_bytes_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::vector<std::byte> control_file_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<std::byte> label_ CAPSTAN_GUARDED_BY(mutex_);                // backup_label
  std::map<PathInPlace, std::uint64_t> taken_ CAPSTAN_GUARDED_BY(mutex_);  // bytes of each file
  std::map<ExtentKey, ReadExtent> read_back_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::writers
