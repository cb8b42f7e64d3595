#include "server/engine/restart/interrupted_backup.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "server/engine/family_feed.h"
#include "server/engine/media_inspection.h"
#include "server/media/family_reader.h"
#include "vdi/base/log.h"

namespace capstan::engine {
namespace {

// Takes what stands in front of the first frame, and ends the reading there.
class HeadVisitor final : public media::FamilyVisitor {
 public:
  Status OnMediaHeader(const media::MediaHeader& header) override {
    head_.header = header;
    return OkStatus();
  }
  Status OnSetBegin(const media::BackupSet& set) override {
    head_.set = set;
    return OkStatus();
  }
  Status OnFrame(const media::FrameView& frame) override { return End(frame); }
  Status OnVoidFrame(const media::FrameView& frame) override { return End(frame); }
  Status OnSetEnd(const media::SetTrailer& /*trailer*/,
                  const media::FamilySummary& /*seen*/) override {
    return OkStatus();
  }

  std::optional<FamilyHead> Take() {
    return head_.size_bytes == 0 ? std::nullopt : std::optional(std::move(head_));
  }

 private:
  Status End(const media::FrameView& frame) {
    head_.size_bytes = frame.medium_offset;
    return Error(Code::kCancelled, "the head is complete");
  }

  FamilyHead head_;
};

}  // namespace

bool IsInterruptedBackup(const catalog::JobRecord& job) {
  return job.restore_paths.empty() && job.progress && job.state == catalog::JobState::kRunning;
}

Result<std::optional<catalog::JobRecord>> FindInterruptedBackup(catalog::Catalog& catalog,
                                                                const std::string& database) {
  CAPSTAN_ASSIGN_OR_RETURN(auto jobs, catalog.UnfinishedJobs());
  const auto found = std::find_if(jobs.begin(), jobs.end(), [&](const catalog::JobRecord& job) {
    return job.database_name == database && IsInterruptedBackup(job);
  });
  return found == jobs.end() ? std::nullopt : std::optional(std::move(*found));
}

Status DiscardBackup(const Engine::Parts& parts, const catalog::JobRecord& job) {
  const Deadline deadline = Deadline::After(parts.settings.timeouts.recover);
  for (const catalog::JobDevice& device : job.devices) {
    CAPSTAN_RETURN_IF_ERROR(parts.devices.Recover(device.device_class,
                                                  {.name = device.target, .token = device.token},
                                                  RecoverAction::kDiscard, deadline));
  }
  CAPSTAN_RETURN_IF_ERROR(parts.catalog.ForgetJob(job.job_guid));
  CAPSTAN_LOG(kInfo, "what the interrupted backup {} of '{}' had written was given up",
              job.job_guid.ToString(), job.database_name);
  return OkStatus();
}

Result<bool> DiscardInterruptedBackup(const Engine::Parts& parts, const std::string& database) {
  CAPSTAN_ASSIGN_OR_RETURN(const auto job, FindInterruptedBackup(parts.catalog, database));
  if (!job) {
    return false;
  }
  CAPSTAN_RETURN_IF_ERROR(DiscardBackup(parts, *job));
  return true;
}

std::string HowToGoOnWithBackup(const std::string& database, std::uint64_t bytes) {
  return fmt::format(
      "at least {} bytes are written and kept: the same BACKUP WITH RESTART goes on with them; a "
      "full backup of '{}' without RESTART, or DROP DATABASE [{}], gives them up",
      bytes, database, database);
}

Result<std::optional<FamilyHead>> ReadFamilyHead(OpenSet& set, DeviceChannel& channel,
                                                 const FirstError& error) {
  HeadVisitor visitor;
  const auto reader = media::FamilyReader::Create(channel.target(), 1, &visitor);
  constexpr std::uint32_t kBuffers = 1;
  const Status status = FamilyFeed(set, channel, error, kBuffers).Run(*reader);
  std::optional<FamilyHead> head = visitor.Take();
  if (!head && !status.ok() && !IsEndOfWritten(status)) {
    return status;
  }
  return head;
}

bool IsEndOfWritten(const Status& status) {
  constexpr int kEmpty = 3254;
  constexpr int kEndsInSet = 3256;
  constexpr int kDamaged = 65004;
  const int reason = status.reason();
  return IsAboutContents(status) || reason == kEmpty || reason == kEndsInSet || reason == kDamaged;
}

}  // namespace capstan::engine
