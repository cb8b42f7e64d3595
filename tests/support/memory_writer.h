// MemoryWriter: a DatabaseWriter whose databases are byte strings in memory, spread over any number
// of files and volumes. Restores land in `restored`.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/messages/messages.h"
#include "server/writers/database_writer.h"
#include "vdi/base/mutex.h"

namespace capstan::test {

class MemoryWriter final : public writers::DatabaseWriter {
 public:
  using Bytes = std::vector<std::byte>;

  // File i lies on volume i, so each has a reader of its own.
  std::vector<Bytes> files;
  // Fails the n-th read of a backup (from 1); 0 = none.
  std::atomic<int> fail_read{0};
  std::function<void()> on_read;      // of a backup, on the thread that reads
  std::set<std::uint64_t> bad_pages;  // of 4096 bytes, from 1: what a check of file 0 finds
  std::atomic<bool> fail_page_check{false};
  std::map<std::string, Bytes> restored;  // by physical name, after Commit
  std::vector<writers::Extent> missed;    // told to a page check
  std::vector<std::string> discarded;     // job names given to DiscardRestore
  int began_restores = 0;

  static Bytes Pattern(std::size_t size, unsigned seed) {
    Bytes bytes(size);
    std::uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;
    for (std::size_t i = 0; i < size; ++i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      bytes[i] = static_cast<std::byte>(state >> 56);
    }
    return bytes;
  }

  std::string_view scheme() const override { return "memory"; }
  writers::WriterInfo info() const override { return {.name = "MemoryWriter"}; }

  Result<writers::DatabaseDescription> Describe(const std::string& location,
                                                const std::string& logical_name) override {
    writers::DatabaseDescription description;
    description.writer = "memory";
    description.page_size = 4096;
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
    CAPSTAN_ASSIGN_OR_RETURN(session->description_, Describe(location, logical_name));
    session->next_.resize(files.size());
    return std::unique_ptr<writers::BackupSession>(std::move(session));
  }

  Result<std::unique_ptr<writers::RestoreSession>> BeginRestore(
      std::span<const writers::RestoreTarget> targets, const writers::RestoreOptions&) override {
    ++began_restores;
    auto session = std::make_unique<Restore>(*this);
    for (const auto& target : targets) {
      session->names_.push_back(target.physical_name);
      session->built_.emplace_back(target.file.size_bytes);
    }
    return std::unique_ptr<writers::RestoreSession>(std::move(session));
  }

  Result<std::unique_ptr<writers::PageCheck>> BeginPageCheck(
      std::span<const writers::DatabaseFile> page_files,
      writers::PageErrorHandler on_page_error) override {
    if (fail_page_check) {
      return Error(Code::kInvalidArgument, "planned fault");
    }
    auto check = std::make_unique<Recheck>(*this);
    check->file_ = page_files[0];
    check->on_page_error_ = std::move(on_page_error);
    return std::unique_ptr<writers::PageCheck>(std::move(check));
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
    return OkStatus();
  }

 private:
  struct Backup final : writers::BackupSession {
    explicit Backup(MemoryWriter& writer) : writer_(writer) {}
    const writers::DatabaseDescription& description() const override { return description_; }
    writers::Lsn first_lsn() const override { return {100}; }
    writers::Lsn last_lsn() const override { return {200}; }
    writers::Lsn checkpoint_lsn() const override { return {150}; }
    Result<std::optional<writers::Extent>> NextExtent(std::uint32_t volume,
                                                      std::uint32_t length_max) override {
      const std::uint64_t size = writer_.files[volume].size();
      if (next_[volume] == size) {
        return std::optional<writers::Extent>();
      }
      const auto length =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(length_max, size - next_[volume]));
      writers::Extent extent{.file_index = volume, .offset = next_[volume], .length = length};
      next_[volume] += length;
      return std::optional(extent);
    }
    Status ReadExtent(const writers::Extent& extent, std::span<std::byte> target) override {
      if (writer_.on_read) {
        writer_.on_read();
      }
      if (writer_.fail_read > 0 && --writer_.fail_read == 0) {
        return SqlError(65005, "memory", "planned read fault");
      }
      std::memcpy(target.data(), writer_.files[extent.file_index].data() + extent.offset,
                  extent.length);
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
    std::vector<std::uint64_t> next_;
    std::function<Status(const writers::PageError&)> on_page_error_;
  };

  // Finds `bad_pages` among what came back.
  struct Recheck final : writers::PageCheck {
    explicit Recheck(MemoryWriter& writer) : writer_(writer) {}
    Status Take(const writers::Extent& extent, std::span<const std::byte> bytes) override {
      MutexLock lock(mutex_);
      for (const std::uint64_t page : writer_.bad_pages) {
        const std::uint64_t begin = (page - 1) * 4096;
        if (extent.file_index == 0 && begin >= extent.offset &&
            begin < extent.offset + bytes.size()) {
          found_.insert(page);
        }
      }
      return OkStatus();
    }
    void Miss(std::uint32_t file_index, std::uint64_t offset, std::uint64_t length) override {
      writer_.missed.push_back({.file_index = file_index,
                                .offset = offset,
                                .length = static_cast<std::uint32_t>(length)});
    }
    Status Finish() override {
      MutexLock lock(mutex_);
      for (const std::uint64_t page : found_) {
        CAPSTAN_RETURN_IF_ERROR(on_page_error_({.file_id = file_.file_id,
                                                .page = page,
                                                .file = file_.physical_name,
                                                .cause = "planned bad page"}));
      }
      return OkStatus();
    }

    MemoryWriter& writer_;
    writers::DatabaseFile file_;
    writers::PageErrorHandler on_page_error_;
    Mutex mutex_;
    std::set<std::uint64_t> found_ CAPSTAN_GUARDED_BY(mutex_);
  };

  struct Restore final : writers::RestoreSession {
    explicit Restore(MemoryWriter& writer) : writer_(writer) {}
    Status WriteExtent(const writers::Extent& extent, std::span<const std::byte> source) override {
      std::memcpy(built_[extent.file_index].data() + extent.offset, source.data(), source.size());
      return OkStatus();
    }
    Status Commit() override {
      for (std::size_t i = 0; i < names_.size(); ++i) {
        writer_.restored[names_[i]] = built_[i];
      }
      return OkStatus();
    }

    MemoryWriter& writer_;
    std::vector<std::string> names_;
    std::vector<Bytes> built_;
  };
};

}  // namespace capstan::test
