#include "server/engine/restore_pipeline.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "server/engine/family_feed.h"
#include "server/engine/media_inspection.h"
#include "server/engine/worker_group.h"
#include "server/messages/messages.h"

namespace capstan::engine {

// What one family's reader finds, on that family's worker.
class RestorePipeline::Visitor final : public media::FamilyVisitor {
 public:
  // `target` outlives the pipeline.
  Visitor(RestorePipeline& pipeline, const std::string& target)
      : pipeline_(pipeline), target_(target) {}

  Status OnMediaHeader(const media::MediaHeader& header) override {
    header_ = header;
    return OkStatus();
  }
  Status OnSetBegin(const media::BackupSet& set) override {
    files_ = set.files;
    return pipeline_.gate_.Arrive({.target = target_, .header = header_, .set = set});
  }
  Status OnFrame(const media::FrameView& frame) override {
    CAPSTAN_RETURN_IF_ERROR(CheckPlace(frame));
    CAPSTAN_RETURN_IF_ERROR(media::VerifyFrame(frame, target_));
    return pipeline_.coding_.form.plain() ? pipeline_.Deliver(frame)
                                          : pipeline_.pool_.Submit(frame, target_);
  }
  media::Authenticator* authenticator() override {
    authenticator_.emplace(pipeline_.coding_.key);
    return &*authenticator_;
  }
  Status OnSetEnd(const media::SetTrailer& trailer, const media::FamilySummary& seen) override {
    finished_ = {.target = target_, .trailer = trailer, .seen = seen};
    return OkStatus();
  }

  FinishedFamily TakeFinished() { return std::move(finished_); }

 private:
  // A frame may be whole and still name a place that its file does not have.
  Status CheckPlace(const media::FrameView& frame) const {
    const media::FrameExtent& extent = frame.extent;
    if (extent.file_index < files_.size() &&
        extent.file_offset <= files_[extent.file_index].size_bytes &&
        extent.length <= files_[extent.file_index].size_bytes - extent.file_offset) {
      return OkStatus();
    }
    return SqlError(65004, target_, frame.medium_offset,
                    fmt::format("frame {} lies outside of its database file", extent.sequence));
  }

  RestorePipeline& pipeline_;
  const std::string& target_;
  media::MediaHeader header_;
  std::vector<media::BackupFile> files_;
  std::optional<KeyAuthenticator> authenticator_;
  FinishedFamily finished_;
};

RestorePipeline::RestorePipeline(Parts parts)
    : parts_(parts),
      gate_(parts.set.device_count(),
            [this](const ArrivedFamily& family) { return OnAllFamilies(family); }),
      monitor_({parts.job, parts.observer, parts.set, error_, bytes_done_, parts.device_timeout,
                parts.stats_percent}),
      finished_(parts.set.device_count()),
      pool_(error_, [this](const DecodedFrame& decoded) {
        return decoded.status.ok() ? Deliver(decoded.frame) : decoded.status;
      }) {}

Status RestorePipeline::OnAllFamilies(const ArrivedFamily& family) {
  CAPSTAN_ASSIGN_OR_RETURN(coding_, UnlockCoding(family.set, parts_.keys, family.target));
  std::uint64_t total = 0;
  for (const auto& file : family.set.files) {
    total += file.size_bytes;
  }
  parts_.job.SetTotal(total);
  parts_.job.SetPhase("Reading data");
  CAPSTAN_RETURN_IF_ERROR(parts_.sink.OnSet(family.set));
  return coding_.form.plain() ? OkStatus() : pool_.Start(coding_);
}

Status RestorePipeline::Deliver(const media::FrameView& frame) {
  CAPSTAN_RETURN_IF_ERROR(parts_.sink.OnFrame(frame));
  bytes_done_.fetch_add(frame.extent.length, std::memory_order_relaxed);
  return OkStatus();
}

Status RestorePipeline::ReadFamily(std::size_t index) {
  DeviceChannel& channel = parts_.set.device(index);
  Visitor visitor(*this, channel.target());
  const Result<std::uint64_t> place = FindSet(parts_.set, channel, parts_.file_number);
  const std::uint64_t set_offset = place.ok() ? place.value() : 0;  // reading says what is wrong
  const auto reader = media::FamilyReader::Create(
      channel.target(), parts_.file_number, &visitor,
      media::ReaderOptions{
          .media = parts_.set.removable() ? media::Media::kSeveral : media::Media::kOne,
          .set_offset = set_offset});
  const auto buffers = static_cast<std::uint32_t>(
      std::max<std::size_t>(1, parts_.set.pool().size() / parts_.set.device_count()));
  FamilyFeed feed(parts_.set, channel, error_, buffers);
  Status status = feed.Run(*reader);
  if (status.ok() && !reader->done()) {
    status = error_.failed() ? error_.status() : reader->Finish();
  }
  if (!status.ok()) {
    error_.Set(
        status);  // before the gate opens: those who wait there must not be the first to fail
    gate_.Fail(status);
    return status;
  }
  finished_[index] = visitor.TakeFinished();
  return OkStatus();
}

Status RestorePipeline::Run() {
  parts_.job.SetPhase("Reading media headers");
  {
    WorkerGroup workers(error_);
    for (std::size_t i = 0; i < parts_.set.device_count(); ++i) {
      workers.Start([this, i] { return ReadFamily(i); });
    }
    monitor_.RunUntil([&](std::chrono::milliseconds patience) {
      if (error_.failed()) {
        gate_.Fail(error_.status());  // also when the monitor itself has ended the job
      }
      return workers.WaitAll(patience);
    });
  }
  pool_.Close();
  monitor_.RunUntil([&](std::chrono::milliseconds patience) { return pool_.WaitAll(patience); });
  if (error_.failed()) {
    return error_.status();
  }
  CAPSTAN_RETURN_IF_ERROR(CheckWhole(finished_));
  monitor_.Report();
  return OkStatus();
}

}  // namespace capstan::engine
