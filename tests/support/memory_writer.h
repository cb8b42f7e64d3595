// MemoryWriter: a DatabaseWriter whose databases are byte strings in memory, spread over any number
// of files and volumes. Restores land in `restored`; what is being restored, in `restoring`.
//
// With `logged` it keeps a log of the changes that Write makes, and knows differential backups (the
// pages that changed), log backups and restores of both up to a point.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/messages/messages.h"
#include "server/writers/database_writer.h"
#include "tests/support/memory_extents.h"
#include "tests/support/memory_log.h"
#include "tests/support/memory_page_check.h"
#include "vdi/base/mutex.h"

namespace capstan::test {

class MemoryWriter final : public writers::DatabaseWriter {
 public:
  using Bytes = std::vector<std::byte>;

  // File i lies on volume i, so each has a reader of its own.
  std::vector<Bytes> files;
  // Fails the n-th read of a backup (from 1); 0 = none.
  std::atomic<int> fail_read{0};
  std::function<void()> on_read;                // of a backup, on the thread that reads
  std::function<Status()> on_keeps = OkStatus;  // may fail it; any thread
  std::atomic<int> extents_kept{0};
  std::set<std::uint64_t> bad_pages;  // of 4096 bytes, from 1: what a check of file 0 finds
  std::atomic<bool> fail_page_check{false};
  std::map<std::string, Bytes> restored;  // by physical name, after Commit
  std::vector<writers::Extent> missed;    // told to a page check
  std::vector<std::string> discarded;     // job names given to DiscardRestore
  int began_restores = 0;

  // Restores have checkpoints and can be gone on with: by job name, as of the last checkpoint.
  bool resumable = false;
  std::map<std::string, std::vector<Bytes>> unfinished;
  std::string unfinished_at;  // the file of a database at which it is known; empty: at each
  std::function<Status()> on_checkpoint;  // may fail it
  std::atomic<int> extents_written{0};    // by restores
  bool read_only = false;                 // describes itself so
  bool logged = false;
  bool log_in_full = false;  // a full backup has a file of log, known only when the rest is read
  std::int64_t now_us = 1'000'000;
  std::uint64_t next_lsn = 1000;
  Guid fork = Guid::Random();
  std::vector<MemoryChange> log;                      // as far as it is kept
  std::uint64_t log_begin = 0;                        // what was before is gone
  std::map<std::string, writers::KeptDatabase> kept;  // by location, from Keep
  std::string broken;                                 // DescribeLog
  bool closed = false;                                // after the tail of its log
  std::string refused_version;                        // BeginRestore: 3169
  std::function<Status()> on_restore_commit;          // may fail it
  int commits_told = 0;                               // BackupSession::Committed
  struct Building {
    std::vector<Bytes> files;
    std::vector<std::string> names;
    std::uint64_t redo = 0;
  };
  std::map<std::string, Building> restoring;  // by location
  std::vector<std::string> abandoned;

  void Write(std::uint32_t file, std::uint64_t page, unsigned char value, std::string mark = {}) {
    Fill(files[file], page, value);
    changed_[{file, page}] = next_lsn;
    log.push_back({.lsn = next_lsn++,
                   .unix_us = ++now_us,
                   .file = file,
                   .page = page,
                   .value = value,
                   .mark = std::move(mark)});
  }
  static void Fill(Bytes& bytes, std::uint64_t page, unsigned char value) {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(page * kMemoryPage);
    std::fill(begin, begin + static_cast<std::ptrdiff_t>(kMemoryPage), std::byte{value});
  }

  static Bytes Pattern(std::size_t size, unsigned seed) { return MemoryPattern(size, seed); }
  std::string_view scheme() const override { return "memory"; }
  writers::WriterInfo info() const override { return {.name = "MemoryWriter"}; }

  Result<writers::DatabaseDescription> Describe(const std::string& location,
                                                const std::string& logical_name) override {
    writers::DatabaseDescription description;
    description.writer = "memory";
    description.page_size = 4096;
    description.version = "1.0";
    description.read_only = read_only;
    if (logged) {
      description.recovery_model = writers::RecoveryModel::kFull;
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
      writers::DatabaseFile file;
      file.file_id = static_cast<std::uint32_t>(i + 1);
      file.logical_name = i == 0 ? logical_name : logical_name + std::to_string(i + 1);
      file.physical_name = i == 0 ? location : location + std::to_string(i + 1);
      file.size_bytes = files[i].size();
      file.page_size = 4096;
      file.volume = static_cast<std::uint32_t>(i);
      description.files.push_back(file);
      description.volumes.push_back("volume" + std::to_string(i));
    }
    return description;
  }

  Result<std::unique_ptr<writers::BackupSession>> BeginBackup(
      const std::string& location, const std::string& logical_name,
      const writers::BackupOptions& options) override {
    auto session = std::make_unique<Backup>(*this);
    session->on_page_error_ = options.on_page_error;
    session->options_ = options;
    CAPSTAN_ASSIGN_OR_RETURN(session->description_, Describe(location, logical_name));
    if (logged) {
      CAPSTAN_RETURN_IF_ERROR(session->BeginChain(location, logical_name));
    } else {
      session->AddFiles();
    }
    return std::unique_ptr<writers::BackupSession>(std::move(session));
  }

  // Log before what is told is not needed.
  void Keep(std::vector<writers::KeptDatabase> databases) override {
    kept.clear();
    for (auto& database : databases) {
      if (database.log_from) {
        log_begin = std::max(log_begin, database.log_from->value);
        std::erase_if(log, [&](const MemoryChange& c) { return c.lsn < log_begin; });
      }
      kept[database.location] = std::move(database);
    }
  }
  Result<writers::LogStatus> DescribeLog(const std::string&) override {
    writers::LogStatus status;
    status.broken = broken;
    if (logged) {
      status.kept = writers::LsnRange{.first = {log_begin}, .last = {next_lsn}, .checkpoint = {}};
    }
    return status;
  }
  Result<writers::RestoreOutcome> Recover(const std::string& location,
                                          const writers::RestoreOptions& options) override {
    const auto building = restoring.find(location);
    if (building == restoring.end()) {
      return SqlError(3117);
    }
    return Finish(location, building->second, options);
  }
  Status AbandonRestore(const std::string& location) override {
    abandoned.push_back(location);
    restoring.erase(location);
    return OkStatus();
  }

  Result<std::unique_ptr<writers::RestoreSession>> BeginRestore(
      std::span<const writers::RestoreTarget> targets,
      const writers::RestoreOptions& options) override {
    ++began_restores;
    if (!refused_version.empty() && options.version == refused_version) {
      return SqlError(3169, options.version, "0.9");
    }
    auto session = std::make_unique<Restore>(*this);
    session->options_ = options;
    if (options.kind == writers::BackupKind::kFull) {
      for (const auto& target : targets) {
        session->built_.names.push_back(target.physical_name);
        session->built_.files.emplace_back(target.file.size_bytes);
      }
      if (options.resume) {
        const auto kept_files = unfinished.find(options.job_name);
        if (kept_files == unfinished.end()) return Error(Code::kNotFound, "nothing is left");
        session->built_.files = kept_files->second;
      }
      session->location_ = targets.front().physical_name;
    } else {
      const auto building = restoring.find(options.location);
      if (building == restoring.end()) {
        return Error(Code::kFailedPrecondition, "'{}' is not being restored", options.location);
      }
      if (options.kind == writers::BackupKind::kLog && options.lsns.last.value != 0 &&
          options.lsns.last.value <= building->second.redo) {
        return SqlError(4326, options.lsns.last.value, building->second.redo);
      }
      session->built_ = building->second;
      session->location_ = options.location;
    }
    for (const auto& target : targets) {
      session->is_log_.push_back(target.file.type == 'L');
    }
    return std::unique_ptr<writers::RestoreSession>(std::move(session));
  }

  Result<std::unique_ptr<writers::PageCheck>> BeginPageCheck(
      std::span<const writers::DatabaseFile> page_files,
      writers::PageErrorHandler on_page_error) override {
    if (fail_page_check) {
      return Error(Code::kInvalidArgument, "planned fault");
    }
    return std::unique_ptr<writers::PageCheck>(std::make_unique<MemoryPageCheck>(
        page_files[0], bad_pages, missed, std::move(on_page_error)));
  }

  // Nothing of it is in files that somebody else could copy.
  Result<std::unique_ptr<writers::FreezeSession>> BeginSnapshot(const std::string&,
                                                                const std::string&) override {
    return Error(Code::kUnimplemented, "a database in memory has no snapshots");
  }
  Result<std::vector<writers::RestoreTarget>> PlanMount(
      std::vector<writers::RestoreTarget>) override {
    return Error(Code::kUnimplemented, "a database in memory has no snapshots");
  }
  Result<std::unique_ptr<writers::MountSession>> BeginMount(
      std::span<const writers::RestoreTarget>, const writers::RestoreOptions&) override {
    return Error(Code::kUnimplemented, "a database in memory has no snapshots");
  }

  Status DiscardRestore(const std::string&, const std::string& job_name) override {
    discarded.push_back(job_name);
    unfinished.erase(job_name);
    return OkStatus();
  }
  Result<bool> KeepRestore(const std::string& physical_name, const std::string& job_name) override {
    const bool known = unfinished_at.empty() || physical_name == unfinished_at;
    if (!known || unfinished.contains(job_name)) return known;
    CAPSTAN_RETURN_IF_ERROR(DiscardRestore(physical_name, job_name));
    return false;
  }

 private:
  struct Backup final : writers::BackupSession {
    explicit Backup(MemoryWriter& writer) : writer_(writer) {}
    const writers::DatabaseDescription& description() const override { return description_; }
    ~Backup() override {
      if (options_.tail == writers::LogTail::kNoRecovery && !committed_) {
        writer_.closed = false;
      }
    }
    Backup(const Backup&) = delete;
    Backup& operator=(const Backup&) = delete;
    writers::LsnRange lsns() const override { return lsns_; }
    Guid recovery_fork() const override { return writer_.logged ? writer_.fork : Guid(); }
    std::string writer_data() const override { return writer_.logged ? "memory" : ""; }
    void Committed() override {
      committed_ = true;
      ++writer_.commits_told;
    }

    // The files as they are; each on its volume.
    void AddFiles() {
      extents_.Resize(description_.files.size());
      for (std::size_t i = 0; i < writer_.files.size(); ++i) {
        AddExtent(static_cast<std::uint32_t>(i), 0, writer_.files[i].size());
      }
    }
    Status BeginChain(const std::string& location, const std::string& logical_name) {
      const std::uint64_t now = writer_.next_lsn;
      lsns_ = {.first = {now}, .last = {now}, .checkpoint = {now}};
      view_ = writer_.files;
      if (options_.kind == writers::BackupKind::kFull) {
        AddFiles();
        if (writer_.log_in_full) {
          AddLogFile(location, logical_name);
        }
      } else if (options_.kind == writers::BackupKind::kDifferential) {
        extents_.Resize(view_.size());
        for (auto& file : description_.files) {
          file.whole = false;
        }
        for (const auto& [place, lsn] : writer_.changed_) {
          if (lsn >= options_.base->lsns.checkpoint.value) {
            AddExtent(place.first, place.second * kMemoryPage, kMemoryPage);
          }
        }
      } else {
        return BeginLog(location, logical_name);
      }
      return OkStatus();
    }
    Status BeginLog(const std::string& location, const std::string& logical_name) {
      const std::uint64_t from = options_.log_from.value;
      if (from < writer_.log_begin || !writer_.broken.empty()) {
        return SqlError(65005, logical_name, "the log is not there any more");
      }
      description_.files.clear();
      view_.clear();
      AddLogFile(location, logical_name);
      lsns_ = {.first = {from}, .last = {writer_.next_lsn}, .checkpoint = {}};
      ReadLog(0);
      description_.volumes = {"log"};
      extents_.Resize(1);
      AddExtent(0, 0, view_[0].size());
      if (options_.tail == writers::LogTail::kNoRecovery) {
        writer_.closed = true;
      }
      return OkStatus();
    }
    void AddLogFile(const std::string& location, const std::string& logical_name) {
      writers::DatabaseFile file;
      file.file_id = static_cast<std::uint32_t>(description_.files.size() + 1);
      file.logical_name = logical_name + "_log";
      file.physical_name = location + "/log";
      file.type = 'L';
      file.whole = false;
      description_.files.push_back(file);
      view_.emplace_back();
    }
    // The log from lsns_.first to now becomes the contents of the file.
    void ReadLog(std::size_t file) {
      MemoryLog read{.end_unix_us = ++writer_.now_us, .changes = {}};
      lsns_.last = {writer_.next_lsn};
      for (const MemoryChange& c : writer_.log) {
        if (c.lsn >= lsns_.first.value) {
          read.changes.push_back(c);
        }
      }
      const std::string text = read.Encode();
      const auto* const bytes = reinterpret_cast<const std::byte*>(text.data());
      view_[file].assign(bytes, bytes + text.size());
      description_.files[file].size_bytes = text.size();
    }
    Result<bool> BeginTail() override {
      if (!writer_.log_in_full || options_.kind != writers::BackupKind::kFull) {
        return false;
      }
      const std::size_t file = view_.size() - 1;
      ReadLog(file);
      const auto tail = static_cast<std::uint32_t>(description_.volumes.size());
      extents_.Resize(tail + 1);
      extents_.Add(tail, static_cast<std::uint32_t>(file), 0, view_[file].size());
      return true;
    }
    void AddExtent(std::uint32_t file, std::uint64_t offset, std::uint64_t length) {
      extents_.Add(description_.files[file].volume, file, offset, length);
    }
    Result<bool> Keeps(const writers::Extent& extent, std::span<const std::byte> bytes) override {
      CAPSTAN_RETURN_IF_ERROR(writer_.on_keeps());
      const std::vector<Bytes>& source = writer_.logged ? view_ : writer_.files;
      if (extent.file_index >= source.size() ||
          extent.offset + extent.length > source[extent.file_index].size() ||
          std::memcmp(source[extent.file_index].data() + extent.offset, bytes.data(),
                      bytes.size()) != 0 ||
          !extents_.TakeOut(description_.files[extent.file_index].volume, extent)) {
        return false;
      }
      ++writer_.extents_kept;
      return true;
    }
    Result<std::optional<writers::Extent>> NextExtent(std::uint32_t volume,
                                                      std::uint32_t length_max) override {
      return extents_.Next(volume, length_max);
    }
    Status ReadExtent(const writers::Extent& extent, std::span<std::byte> target) override {
      if (writer_.on_read) {
        writer_.on_read();
      }
      if (writer_.fail_read > 0 && --writer_.fail_read == 0) {
        return SqlError(65005, "memory", "planned read fault");
      }
      const std::vector<Bytes>& source = writer_.logged ? view_ : writer_.files;
      std::memcpy(target.data(), source[extent.file_index].data() + extent.offset, extent.length);
      return CheckPages(extent);
    }
    Status End() override { return OkStatus(); }
    Status CheckPages(const writers::Extent& extent) const {
      for (const std::uint64_t page : writer_.bad_pages) {
        const std::uint64_t begin = (page - 1) * 4096;
        if (on_page_error_ && extent.file_index == 0 && begin >= extent.offset &&
            begin < extent.offset + extent.length) {
          CAPSTAN_RETURN_IF_ERROR(on_page_error_({.page = page,
                                                  .file = description_.files[0].physical_name,
                                                  .cause = "planned bad page"}));
        }
      }
      return OkStatus();
    }

    MemoryWriter& writer_;
    writers::DatabaseDescription description_;
    writers::BackupOptions options_;
    writers::LsnRange lsns_{.first = {100}, .last = {200}, .checkpoint = {150}};
    std::vector<Bytes> view_;  // with `logged`, as it began
    MemoryExtents extents_;    // what is left to read
    bool committed_ = false;
    std::function<Status(const writers::PageError&)> on_page_error_;
  };

  struct Restore final : writers::RestoreSession {
    explicit Restore(MemoryWriter& writer) : writer_(writer) {}
    ~Restore() override {
      if (!kept_) {
        writer_.unfinished.erase(options_.job_name);
      }
    }
    Restore(const Restore&) = delete;
    Restore& operator=(const Restore&) = delete;
    Status Checkpoint() override {
      if (!writer_.resumable) {
        return RestoreSession::Checkpoint();
      }
      if (writer_.on_checkpoint) {
        CAPSTAN_RETURN_IF_ERROR(writer_.on_checkpoint());
      }
      MutexLock lock(mutex_);
      writer_.unfinished[options_.job_name] = built_.files;
      return OkStatus();
    }
    bool Keep() override {
      kept_ = writer_.unfinished.contains(options_.job_name);
      return kept_;
    }
    Status ReadBack(const writers::Extent& extent, std::span<std::byte> target) override {
      MutexLock lock(mutex_);
      const Bytes& source = built_.files[extent.file_index];
      std::memcpy(target.data(), source.data() + extent.offset, target.size());
      return OkStatus();
    }
    void Adopt(const writers::Extent& extent) override { filled_bytes_ += extent.length; }
    Status WriteExtent(const writers::Extent& extent, std::span<const std::byte> source) override {
      ++writer_.extents_written;
      filled_bytes_ += extent.length;
      MutexLock lock(mutex_);
      Bytes& target = is_log_[extent.file_index] ? log_ : built_.files[extent.file_index];
      target.resize(std::max<std::size_t>(target.size(), extent.offset + source.size()));
      std::memcpy(target.data() + extent.offset, source.data(), source.size());
      return OkStatus();
    }
    Result<writers::RestoreOutcome> Commit() override {
      if (writer_.on_restore_commit) {
        CAPSTAN_RETURN_IF_ERROR(writer_.on_restore_commit());
      }
      MutexLock lock(mutex_);
      std::uint64_t total = 0;
      for (const Bytes& file : built_.files) {
        total += file.size();
      }
      if (writer_.resumable && filled_bytes_ != total) {
        return Error(Code::kDataLoss, "{} of {} bytes were written", filled_bytes_.load(), total);
      }
      writers::RestoreOutcome outcome;
      built_.redo = std::max(built_.redo, options_.lsns.last.value);
      if (!log_.empty()) {
        const MemoryLog applied =
            MemoryLog::Decode({reinterpret_cast<const char*>(log_.data()), log_.size()});
        const std::uint64_t last = applied.changes.empty()
                                       ? built_.redo
                                       : std::max(built_.redo, applied.changes.back().lsn + 1);
        const MemoryStop stop = StopIn(applied, last, options_.stop);
        for (const MemoryChange& c : applied.changes) {
          if (c.lsn < stop.end_lsn) {
            Fill(built_.files[c.file], c.page, c.value);
          }
        }
        built_.redo = stop.end_lsn;
        outcome.stop_missed = stop.missed;
      }
      return writer_.Finish(location_, built_, options_, outcome);
    }

    MemoryWriter& writer_;
    writers::RestoreOptions options_;
    std::string location_;
    std::vector<bool> is_log_;  // by file of the set
    std::atomic<std::uint64_t> filled_bytes_{0};
    bool kept_ = false;
    Mutex mutex_;
    Building built_;
    Bytes log_;
  };

  Result<writers::RestoreOutcome> Finish(const std::string& location, Building built,
                                         const writers::RestoreOptions& options,
                                         writers::RestoreOutcome outcome = {}) {
    outcome.reached = {built.redo};
    if (options.end != writers::RestoreEnd::kRecovery || outcome.stop_missed) {
      restoring[location] = std::move(built);
      return outcome;
    }
    for (std::size_t i = 0; i < built.names.size(); ++i) {
      restored[built.names[i]] = built.files[i];
    }
    restoring.erase(location);
    outcome.recovery_fork = Guid::Random();
    return outcome;
  }

  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> changed_;  // LSN of the last
};

}  // namespace capstan::test
