#include "server/engine/verify_job.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "server/engine/device_source.h"
#include "server/engine/known_backup.h"
#include "server/engine/monitor.h"
#include "server/engine/restore_job.h"
#include "server/engine/worker_group.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {

Status VerifyJob::Run() {
  job_.SetPhase("Opening devices");
  CAPSTAN_ASSIGN_OR_RETURN(
      set_, OpenForReading(parts_, request_.transfer, [this] { return job_.cancelled(); }));
  Status status = sampled() ? VerifySample() : VerifyAll();
  if (!set_->abort_reason().ok()) {
    return status;
  }
  Status closed = set_->Close();
  if (status.ok()) {
    status = CheckContents();
  }
  // What a verification that ended early has not read is not lost.
  const bool read_all = !sampled() && (status.ok() || request_.continue_after_error);
  const auto lost = read_all ? damage_.Lost(backup_set_) : damage_.LostFrames();
  for (const auto& [number, text] : damage_.Messages(backup_set_, lost)) {
    observer_.OnMessage(number, text);
  }
  if (backup_set_.is_damaged) {
    observer_.OnMessage(3188, MessageText(3188));
  }
  if (!status.ok()) {
    return WithOtherCopies(std::move(status), parts_.catalog, backup_set_,
                           request_.transfer.targets);
  }
  CAPSTAN_RETURN_IF_ERROR(std::move(closed));
  if (const std::string differences = DifferencesToCatalog(parts_.catalog, backup_set_);
      !differences.empty()) {
    observer_.OnMessage(65021, MessageText(65021, request_.file_number, differences));
  }
  observer_.OnMessage(3262, MessageText(3262, request_.file_number));
  if (backup_set_.is_snapshot) {
    observer_.OnMessage(65008, MessageText(65008, request_.file_number));
  }
  return OkStatus();
}

Status VerifyJob::CheckContents() {
  Status whole = damage_.any() ? SqlError(3189) : OkStatus();
  if (whole.ok() && !sampled()) {
    whole = CheckComplete();
  }
  if (whole.ok()) {
    whole = CheckDigest(parts_.catalog, {.set = backup_set_,
                                         .digest = digest_,
                                         .file_number = request_.file_number,
                                         .targets = request_.transfer.targets});
  }
  if (!whole.ok() && !request_.continue_after_error) {
    return whole;
  }
  CAPSTAN_RETURN_IF_ERROR(pages_.Finish(damage_.Lost(backup_set_)));
  return whole.ok() && damage_.any() ? SqlError(3189) : whole;
}

Status VerifyJob::OnSet(const media::BackupSet& set) {
  backup_set_ = set;
  if (!wants_checksums()) {
    return OkStatus();
  }
  return set.has_checksums ? pages_.Begin(parts_.writers, set) : SqlError(3187);
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
  digest_ = pipeline.digest();
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
  media::SetDigest digest;
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
                                                            .digest = digest,
                                                            .file_number = request_.file_number,
                                                            .percent = request_.sample_percent,
                                                            .seed = seed},
                                                           damage_));
        return OkStatus();
      });
    }
    monitor.RunUntil([&](std::chrono::milliseconds patience) { return workers.WaitAll(patience); });
  }
  digest_ = digest.Value();
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
  if (wants_checksums() && !backup_set_.has_checksums) {
    return SqlError(3187);
  }
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

}  // namespace capstan::engine
