#include "server/engine/verify_job.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "server/engine/device_source.h"
#include "server/engine/monitor.h"
#include "server/engine/restore_job.h"
#include "server/engine/worker_group.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

using Rows = std::vector<std::vector<std::optional<std::string>>>;

// The catalog helps where it can; that it cannot is no failure of a verification.
Rows AskCatalog(catalog::Catalog& catalog, const std::string& select) {
  auto table = catalog.Query(select, {});
  if (!table.ok()) {
    CAPSTAN_LOG(kWarning, "the catalog cannot be asked: {}", table.status().message());
    return {};
  }
  return std::move(table->rows);
}

std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c;
    if (c == '\'') {
      quoted += c;
    }
  }
  return quoted + "'";
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::string OtherCopies(catalog::Catalog& catalog, const media::BackupSet& set,
                        const std::vector<std::string>& targets) {
  std::string sentence;
  const std::string uuid = Quoted(set.backup_set_guid.ToString());
  const Rows families = AskCatalog(
      catalog,
      "SELECT family.physical_device_name FROM msdb_dbo_backupset AS kept JOIN "
      "msdb_dbo_backupmediafamily AS family ON family.media_set_id = kept.media_set_id WHERE "
      "kept.backup_set_uuid = " +
          uuid + " ORDER BY family.mirror, family.family_sequence_number");
  std::vector<std::string> others;
  for (const auto& row : families) {
    const std::string name = row[0].value_or("");
    if (!name.empty() && !Contains(targets, name) && !Contains(others, name)) {
      others.push_back(name);
    }
  }
  if (!others.empty()) {
    sentence = fmt::format("other copies of its families: '{}'", fmt::join(others, "', '"));
  }
  const Rows newer = AskCatalog(
      catalog,
      fmt::format("SELECT kept.backup_finish_date, kept.position, family.physical_device_name "
                  "FROM msdb_dbo_backupset AS kept JOIN msdb_dbo_backupmediafamily AS family ON "
                  "family.media_set_id = kept.media_set_id WHERE kept.database_name = {} AND "
                  "kept.type = 'D' AND kept.software_vendor_id <> 4608 AND kept.backup_set_uuid "
                  "<> {} AND kept.backup_finish_date >= "
                  "(SELECT backup_finish_date FROM msdb_dbo_backupset WHERE backup_set_uuid = {}) "
                  "ORDER BY kept.backup_set_id DESC LIMIT 1",
                  Quoted(set.database_name), uuid, uuid));
  if (!newer.empty()) {
    sentence +=
        fmt::format("{}a later backup of '{}' of {}: file {} on '{}'", sentence.empty() ? "" : "; ",
                    set.database_name, newer[0][0].value_or("?"), newer[0][1].value_or("?"),
                    newer[0][2].value_or("?"));
  }
  return sentence;
}

Status VerifyJob::Run() {
  job_.SetPhase("Opening devices");
  CAPSTAN_ASSIGN_OR_RETURN(
      set_, OpenForReading(parts_, request_.transfer, [this] { return job_.cancelled(); }));
  Status status = sampled() ? VerifySample() : VerifyAll();
  if (!set_->abort_reason().ok()) {
    return status;
  }
  Status closed = set_->Close();
  // What a verification that ended early has not read is not lost.
  const bool read_all = !sampled() && (status.ok() || request_.continue_after_error);
  const auto lost = read_all ? damage_.Lost(backup_set_) : damage_.LostFrames();
  for (const auto& [number, text] : damage_.Messages(backup_set_, lost)) {
    observer_.OnMessage(number, text);
  }
  if (status.ok() && damage_.any()) {
    status = SqlError(3189);
  }
  if (status.ok() && !sampled()) {
    status = CheckComplete();
  }
  if (!status.ok()) {
    return Damaged(std::move(status));
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(closed));
  if (request_.transfer.checksum.value_or(false) && !backup_set_.has_checksums) {
    return SqlError(3187);
  }
  CompareWithCatalog();
  if (backup_set_.is_damaged) {
    observer_.OnMessage(3188, MessageText(3188));
  }
  observer_.OnMessage(3262, MessageText(3262, request_.file_number));
  if (backup_set_.is_snapshot) {
    observer_.OnMessage(65008, MessageText(65008, request_.file_number));
  }
  return OkStatus();
}

Status VerifyJob::OnSet(const media::BackupSet& set) {
  backup_set_ = set;
  return OkStatus();
}

Status VerifyJob::VerifyAll() {
  RestorePipeline pipeline(
      {.job = job_,
       .observer = observer_,
       .set = *set_,
       .sink = *this,
       .device_timeout = parts_.settings.timeouts.device,
       .stats_percent = request_.transfer.stats_percent,
       .keys = {.certificates = parts_.certificates, .passphrase = request_.passphrase},
       .damage = damage_,
       .file_number = request_.file_number,
       .media_name = request_.media_name,
       .continue_after_error = request_.continue_after_error});
  CAPSTAN_RETURN_IF_ERROR(pipeline.Run());
  backup_set_ = pipeline.set();
  return OkStatus();
}

Status VerifyJob::VerifySample() {
  if (!set_->random_access()) {
    return SqlError(65020, set_->device(0).target()).WithHint("leave SAMPLE out");
  }
  job_.SetPhase("Reading a sample");
  const std::uint64_t seed = std::random_device()();
  SampleKeys keys({.certificates = parts_.certificates, .passphrase = request_.passphrase});
  std::vector<SampledFamily> families(set_->device_count());
  FirstError error;
  const std::atomic<std::uint64_t> no_progress{0};
  Monitor monitor(
      {job_, observer_, *set_, error, no_progress, parts_.settings.timeouts.device, {}});
  {
    WorkerGroup workers(error);
    for (std::size_t i = 0; i < families.size(); ++i) {
      workers.Start([&, i]() -> Status {
        CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(*set_, set_->device(i)));
        CAPSTAN_ASSIGN_OR_RETURN(families[i], SampleFamily(*source,
                                                           {.target = source->device_name(),
                                                            .keys = keys,
                                                            .file_number = request_.file_number,
                                                            .percent = request_.sample_percent,
                                                            .seed = seed},
                                                           damage_));
        return OkStatus();
      });
    }
    monitor.RunUntil([&](std::chrono::milliseconds patience) { return workers.WaitAll(patience); });
  }
  return error.failed() ? error.status() : CheckSample(std::move(families));
}

Status VerifyJob::CheckSample(std::vector<SampledFamily> families) {
  std::vector<ArrivedFamily> arrived;
  std::vector<FinishedFamily> finished;
  for (const SampledFamily& family : families) {
    arrived.push_back(family.arrived);
    finished.push_back(family.finished);
  }
  CAPSTAN_RETURN_IF_ERROR(CheckFamilies(arrived));
  if (!request_.media_name.empty() && request_.media_name != arrived.front().header.name) {
    return SqlError(4037, request_.media_name, arrived.front().header.name, arrived.front().target);
  }
  backup_set_ = finished.front().trailer.set;
  CAPSTAN_RETURN_IF_ERROR(CheckWhole(finished));
  ReportCoverage(families);
  return OkStatus();
}

void VerifyJob::ReportCoverage(const std::vector<SampledFamily>& families) {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;
  std::uint64_t frames_read = 0;
  std::uint64_t bytes_read = 0;
  for (const SampledFamily& family : families) {
    frames += family.finished.seen.frame_count;
    bytes += family.finished.seen.payload_bytes;
    frames_read += family.frames_read;
    bytes_read += family.bytes_read;
  }
  const double percent =
      frames == 0 ? 100.0 : static_cast<double>(frames_read) * 100 / static_cast<double>(frames);
  observer_.OnMessage(65012, MessageText(65012, frames_read, frames, fmt::format("{:.1f}", percent),
                                         bytes_read, bytes, request_.file_number));
}

Status VerifyJob::CheckComplete() const {
  const std::vector<LostRange> lost = damage_.Lost(backup_set_);
  if (lost.empty()) {
    return OkStatus();
  }
  std::uint64_t bytes = 0;
  for (const LostRange& range : lost) {
    bytes += range.length;
  }
  return SqlError(3189).WithHint(fmt::format(
      "its families hold {} bytes too few; the first of them is byte {} of file '{}'", bytes,
      lost.front().offset, backup_set_.files[lost.front().file_index].physical_name));
}

Status VerifyJob::Damaged(Status failure) const {
  if (failure.code() != Code::kDataLoss) {
    return failure;
  }
  const std::string copies = OtherCopies(parts_.catalog, backup_set_, request_.transfer.targets);
  if (copies.empty()) {
    return failure;
  }
  const std::string hint(failure.hint());
  return std::move(failure).WithHint(hint.empty() ? copies : hint + "; " + copies);
}

void VerifyJob::CompareWithCatalog() {
  const Rows rows = AskCatalog(parts_.catalog,
                               "SELECT backup_size, compressed_backup_size FROM msdb_dbo_backupset "
                               "WHERE backup_set_uuid = " +
                                   Quoted(backup_set_.backup_set_guid.ToString()));
  if (rows.empty()) {
    return;
  }
  const std::string size = std::to_string(backup_set_.backup_size_bytes);
  if (rows[0][0].value_or(size) != size) {
    observer_.OnMessage(
        65021, MessageText(65021, request_.file_number,
                           fmt::format("{} bytes there, {} bytes here", *rows[0][0], size)));
  }
}

}  // namespace capstan::engine
