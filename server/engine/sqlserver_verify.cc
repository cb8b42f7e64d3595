#include "server/engine/sqlserver_verify.h"

#include <atomic>
#include <memory>
#include <vector>

#include "server/engine/device_source.h"
#include "server/engine/monitor.h"
#include "server/engine/restore_job.h"
#include "server/engine/worker_group.h"
#include "server/media/media_password.h"
#include "server/media/sqlserver/verifier.h"
#include "server/messages/messages.h"

namespace capstan::engine {
namespace {

using media::sqlserver::FamilyFindings;

constexpr int kBelongsToSqlServer = 65013;
constexpr int kNotOurs = 3143;

struct Progress {
  std::atomic<std::uint64_t> bytes_done{0};
  std::atomic<std::uint64_t> bytes_total{0};
};

Result<FamilyFindings> VerifyDevice(OpenSet& set, std::size_t index, const VerifyRequest& request,
                                    Job& job, Progress& progress) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(set, set.device(index)));
  if (const std::uint64_t size = source->size_bytes(); size != 0) {
    job.SetTotal(progress.bytes_total += size);
  }
  std::uint64_t seen = 0;
  const auto on_progress = [&](std::uint64_t bytes) -> Status {
    progress.bytes_done += bytes - seen;
    seen = bytes;
    return job.cancelled() ? SqlError(3204) : OkStatus();
  };
  return media::sqlserver::VerifyFamily(*source,
                                        {.position = request.file_number,
                                         .check_sums = request.transfer.checksum.value_or(true),
                                         .media_password = request.transfer.media_password,
                                         .on_progress = on_progress});
}

// A set of SQL Server's is verified as a whole: SQL Server's checksum of a stream says nothing of a
// part of it.
Status RefuseSample(OpenSet& set, const VerifyRequest& request) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(set, set.device(0)));
  CAPSTAN_ASSIGN_OR_RETURN(const media::MediumListing listing, media::ReadListing(*source));
  CAPSTAN_RETURN_IF_ERROR(
      media::CheckMediaPassword(listing.header, request.transfer.media_password));
  const std::string& target = source->device_name();
  for (const media::SetListing& found : listing.sets) {
    if (found.set.position == request.file_number) {
      return found.foreign_set && found.foreign_set->by_sql_server
                 ? SqlError(65022, target).WithHint("leave SAMPLE out")
                 : SqlError(kNotOurs, target);
    }
  }
  return SqlError(3287, request.file_number, target);
}

Status CheckRequest(const VerifyRequest& request, const FamilyFindings& first) {
  if (!request.media_name.empty() && request.media_name != first.header.name) {
    return SqlError(4037, request.media_name, first.header.name, first.device_name);
  }
  if (request.transfer.checksum.value_or(false) &&
      !first.facts.facts.has_backup_checksums.value_or(false)) {
    return SqlError(3187);
  }
  return OkStatus();
}

}  // namespace

bool MayBeSqlServers(const Status& status) {
  return status.reason() == kBelongsToSqlServer || status.reason() == kNotOurs;
}

Status VerifySqlServerMedia(const Engine::Parts& parts, const VerifyRequest& request, Job& job,
                            JobObserver& observer) {
  CAPSTAN_ASSIGN_OR_RETURN(
      const auto set, OpenForReading(parts, request.transfer, [&job] { return job.cancelled(); }));
  if (request.sample_percent < 100) {
    return RefuseSample(*set, request);
  }
  job.SetPhase("Verifying");
  FirstError error;
  Progress progress;
  std::vector<FamilyFindings> families(request.transfer.targets.size());  // each its worker's
  Monitor monitor({job, observer, *set, error, progress.bytes_done, parts.settings.timeouts.device,
                   request.transfer.stats_percent});
  {
    WorkerGroup workers(error);
    for (std::size_t i = 0; i < families.size(); ++i) {
      workers.Start([&, i]() -> Status {
        CAPSTAN_ASSIGN_OR_RETURN(families[i], VerifyDevice(*set, i, request, job, progress));
        return OkStatus();
      });
    }
    monitor.RunUntil([&](std::chrono::milliseconds patience) { return workers.WaitAll(patience); });
  }
  if (error.failed()) {
    return error.status();
  }
  CAPSTAN_RETURN_IF_ERROR(set->Close());
  CAPSTAN_RETURN_IF_ERROR(media::sqlserver::VerifyTogether(families));
  CAPSTAN_RETURN_IF_ERROR(CheckRequest(request, families.front()));
  if (families.front().facts.facts.is_damaged.value_or(false)) {
    observer.OnMessage(3188, MessageText(3188));
  }
  observer.OnMessage(3262, MessageText(3262, request.file_number));
  return OkStatus();
}

}  // namespace capstan::engine
