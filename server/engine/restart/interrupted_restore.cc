#include "server/engine/restart/interrupted_restore.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "server/engine/first_error.h"
#include "server/engine/worker_group.h"
#include "server/messages/messages.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

constexpr unsigned kReadersMax = 4;
constexpr std::chrono::milliseconds kPatience{100};

bool IsInterrupted(const catalog::JobRecord& job, const std::string& database) {
  return job.database_name == database && job.progress && !job.restore_paths.empty();
}

// One frame: whether what is in the file is what was written there.
Result<bool> IsRight(writers::RestoreSession& session, const RestoredFrame& frame,
                     const RestoredCheck& check, std::vector<std::byte>& buffer) {
  const media::FrameExtent& extent = frame.extent;
  buffer.resize(extent.length);
  const writers::Extent place{
      .file_index = extent.file_index, .offset = extent.file_offset, .length = extent.length};
  CAPSTAN_RETURN_IF_ERROR(session.ReadBack(place, buffer));
  if (media::Crc32c(0, buffer) != frame.contents_crc32c) {
    return false;
  }
  CAPSTAN_RETURN_IF_ERROR(check.take({.extent = extent, .payload = buffer}));
  session.Adopt(place);
  return true;
}

}  // namespace

Result<std::optional<catalog::JobRecord>> FindInterrupted(catalog::Catalog& catalog,
                                                          const std::string& database) {
  CAPSTAN_ASSIGN_OR_RETURN(auto jobs, catalog.UnfinishedJobs());
  const auto found = std::find_if(jobs.begin(), jobs.end(), [&](const catalog::JobRecord& job) {
    return IsInterrupted(job, database);
  });
  return found == jobs.end() ? std::nullopt : std::optional(std::move(*found));
}

Result<bool> DiscardInterrupted(const Engine::Parts& parts, const std::string& database) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto job, FindInterrupted(parts.catalog, database));
  if (!job) {
    return false;
  }
  const auto writer = parts.writers.find(job->restore_scheme);
  for (const std::string& path : job->restore_paths) {
    if (writer != parts.writers.end()) {
      CAPSTAN_RETURN_IF_ERROR(writer->second->DiscardRestore(path, job->name()));
    }
  }
  CAPSTAN_RETURN_IF_ERROR(parts.catalog.ForgetJob(job->job_guid));
  CAPSTAN_LOG(kInfo, "the interrupted restore of '{}' was given up", database);
  return true;
}

std::string HowToGoOn(const std::string& database, const catalog::JobProgress& progress) {
  return fmt::format(
      "{} of {} bytes are restored and kept: the same RESTORE WITH RESTART goes on from there; a "
      "RESTORE without RESTART, or DROP DATABASE [{}], gives them up",
      progress.done_bytes, progress.total_bytes, database);
}

Status CheckRestored(writers::RestoreSession& session, RestoredFrames& frames,
                     const RestoredCheck& check) {
  FirstError error;
  std::atomic<std::size_t> next{0};
  WorkerGroup workers(error);
  const auto work = [&]() -> Status {
    std::vector<std::byte> buffer;
    for (std::size_t i = next++; i < frames.size() && !error.failed(); i = next++) {
      CAPSTAN_ASSIGN_OR_RETURN(const bool right, IsRight(session, frames[i], check, buffer));
      if (right) {
        frames.MarkRight(i);
      }
    }
    return OkStatus();
  };
  const unsigned readers = std::clamp(std::thread::hardware_concurrency(), 1U, kReadersMax);
  for (unsigned i = 0; i < readers; ++i) {
    workers.Start(work);
  }
  while (!workers.WaitAll(kPatience)) {
    if (check.cancelled()) {
      error.Set(SqlError(3204));
    }
  }
  return error.status();
}

}  // namespace capstan::engine
