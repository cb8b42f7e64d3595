#include "server/engine/restore_pipeline.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "server/engine/device_source.h"
#include "server/engine/media_inspection.h"
#include "server/engine/set_sample.h"
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
    set_ = set;
    arrived_ = true;
    return pipeline_.gate_.Arrive({.target = target_, .header = header_, .set = set});
  }
  Status OnFrame(const media::FrameView& frame) override {
    const RestoredFrames* const restored = pipeline_.parts_.restored;
    if (restored != nullptr && restored->Covers(frame.extent)) {
      pipeline_.digest_.Add(frame.extent);
      return OkStatus();
    }
    if (restored != nullptr && restored->Find(frame.extent) == RestoredFrames::Match::kOther) {
      return pipeline_.NotAsBefore(target_);
    }
    if (Status status = Check(frame); !status.ok()) {
      return pipeline_.NoteBad(target_, frame.extent, std::move(status));
    }
    pipeline_.digest_.Add(frame.extent);
    return pipeline_.coding_.form.plain() ? pipeline_.Deliver(frame)
                                          : pipeline_.pool_.Submit(frame, target_);
  }
  media::Authenticator* authenticator() override {
    authenticator_.emplace(pipeline_.coding_.key);
    return &*authenticator_;
  }
  Status OnSetEnd(const media::SetTrailer& trailer, const media::FamilySummary& seen) override {
    finished_ = {.target = target_, .trailer = trailer, .seen = seen};
    // What was not read although the job does not go on after errors is what was there already.
    std::vector<media::LostFrame>& lost = finished_.trailer.lost_frames;
    std::erase_if(lost, [&](const media::LostFrame& frame) {
      const bool is_there =
          pipeline_.parts_.restored != nullptr && pipeline_.parts_.restored->Covers(frame.extent);
      if (is_there) {
        pipeline_.digest_.Add(frame.extent);
      }
      return is_there;
    });
    if (!lost.empty() && !pipeline_.parts_.continue_after_error) {
      return pipeline_.NotAsBefore(target_);
    }
    damage_.NoteEnd(target_, finished_.trailer);
    return OkStatus();
  }
  Status OnDamage(const media::MediumDamage& damage) override {
    damage_.NoteDamage(target_, damage);
    return OkStatus();
  }

  // Whether the others have been told of this family.
  bool arrived() const { return arrived_; }
  FinishedFamily TakeFinished() { return std::move(finished_); }

 private:
  Status Check(const media::FrameView& frame) const {
    CAPSTAN_RETURN_IF_ERROR(CheckPlace(frame));
    return media::VerifyFrame(frame, target_);
  }
  // A frame may be whole and still name a place that its file does not have. How long a file is
  // that the set holds parts of, only its end knows.
  Status CheckPlace(const media::FrameView& frame) const {
    const media::FrameExtent& extent = frame.extent;
    if (extent.file_index < set_.files.size()) {
      const media::BackupFile& file = set_.files[extent.file_index];
      if (!file.whole || (extent.file_offset <= file.size_bytes &&
                          extent.length <= file.size_bytes - extent.file_offset)) {
        return OkStatus();
      }
    }
    return SqlError(65004, target_, frame.medium_offset,
                    fmt::format("frame {} lies outside of its database file", extent.sequence));
  }

  RestorePipeline& pipeline_;
  const std::string& target_;
  DamageReport& damage_ = pipeline_.parts_.damage;
  media::MediaHeader header_;
  media::BackupSet set_;
  bool arrived_ = false;
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
        return decoded.status.ok() ? Deliver(decoded.frame)
                                   : NoteBad(decoded.target, decoded.frame.extent, decoded.status);
      }) {}

Status RestorePipeline::NoteBad(const std::string& target, const media::FrameExtent& extent,
                                Status why) {
  why = std::move(why).WithHint("lost: " + PlaceOf(begun_set_, extent));
  if (!parts_.continue_after_error) {
    return why;
  }
  parts_.damage.NoteLost(target, extent, why);
  return OkStatus();
}

Status RestorePipeline::Deliver(const media::FrameView& frame) {
  CAPSTAN_RETURN_IF_ERROR(parts_.sink.OnFrame(frame));
  parts_.damage.NoteGood(frame.extent);
  bytes_done_.fetch_add(frame.extent.length, std::memory_order_relaxed);
  return OkStatus();
}

Status RestorePipeline::OnAllFamilies(const ArrivedFamily& family) {
  if (!parts_.media_name.empty() && parts_.media_name != family.header.name) {
    return SqlError(4037, parts_.media_name, family.header.name, family.target);
  }
  begun_set_ = family.set;
  CAPSTAN_ASSIGN_OR_RETURN(coding_, UnlockCoding(family.set, parts_.keys, family.target));
  std::uint64_t total = 0;
  for (const auto& file : family.set.files) {
    total += file.size_bytes;
  }
  parts_.job.SetTotal(total);
  parts_.job.SetPhase("Reading data");
  CAPSTAN_RETURN_IF_ERROR(parts_.sink.OnSet(family.set));
  if (parts_.restored != nullptr) {
    bytes_done_ = parts_.restored->right_bytes();
  }
  return coding_.form.plain() ? OkStatus() : pool_.Start(coding_);
}

const media::BackupSet& RestorePipeline::set() const {
  for (const FinishedFamily& family : finished_) {
    if (!family.trailer.damaged) {
      return family.trailer.set;
    }
  }
  return begun_set_;
}

Status RestorePipeline::NotAsBefore(const std::string& target) const {
  return SqlError(3019, parts_.job.identity().database)
      .WithHint(fmt::format("'{}' does not hold what was read of this backup set before: another "
                            "medium, or changed since",
                            target));
}

// Of an encrypted set every frame is read: what proves its end is made of all of them.
Status RestorePipeline::SkipRestored(DeviceChannel& channel, FamilyFeed& feed) {
  const RestoredFrames* const restored = parts_.restored;
  if (restored == nullptr || restored->empty() || parts_.continue_after_error ||
      !parts_.set.random_access() || parts_.set.removable()) {
    return OkStatus();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const auto source, DeviceSource::Create(parts_.set, channel));
  SampleKeys no_keys(KeyRing{});
  media::SetDigest unused;
  DamageReport damage;  // reading finds it again, and says so
  auto family = ReadFamilyIndex(*source,
                                {.target = channel.target(),
                                 .keys = no_keys,
                                 .digest = unused,
                                 .file_number = parts_.file_number},
                                damage);
  if (family.status().code() == Code::kUnavailable) {
    return family.status();  // the device
  }
  if (!family.ok() || family->arrived.set.backup_set_guid != parts_.restored_set) {
    return OkStatus();
  }
  for (const media::LostFrame& frame : family->frames) {
    if (restored->Find(frame.extent) == RestoredFrames::Match::kOther) {
      return NotAsBefore(channel.target());
    }
  }
  const std::uint32_t block = parts_.set.block_size();
  feed.BeginAt([restored, block, frames = std::move(family->frames)] {
    std::optional<FamilyFeed::FirstFrame> first;
    for (const media::LostFrame& frame : frames) {
      if (frame.medium_offset % block == 0) {
        first = FamilyFeed::FirstFrame{.number = frame.number, .offset = frame.medium_offset};
      }
      if (!restored->Covers(frame.extent)) {
        break;
      }
    }
    return first;
  });
  return OkStatus();
}

Status RestorePipeline::ReadFamily(std::size_t index) {
  DeviceChannel& channel = parts_.set.device(index);
  Visitor visitor(*this, channel.target());
  const Result<SetPlace> found = FindSet(parts_.set, channel, parts_.file_number, error_);
  const SetPlace place = found.ok() ? found.value() : SetPlace();
  const auto reader = media::FamilyReader::Create(
      channel.target(), parts_.file_number, &visitor,
      media::ReaderOptions{
          .media = parts_.set.removable() ? media::Media::kSeveral : media::Media::kOne,
          .tolerate_damage = parts_.continue_after_error,
          .set_offset = place.offset,
          .set_place = place.place});
  const auto buffers = static_cast<std::uint32_t>(
      std::max<std::size_t>(1, parts_.set.pool().size() / parts_.set.device_count()));
  FamilyFeed feed(parts_.set, channel, error_, buffers);
  // Of random access, reading says what is wrong.
  const bool readable = found.ok() || parts_.set.random_access();
  Status status = readable ? SkipRestored(channel, feed) : found.status();
  if (status.ok()) {
    status = feed.Run(*reader);
  }
  if (status.ok() && !reader->done()) {
    status = error_.failed() ? error_.status() : reader->Finish();
  }
  // A device that fails aborts the set; here the medium has no head that could be read.
  if (parts_.continue_after_error && status.code() == Code::kDataLoss && !visitor.arrived() &&
      parts_.set.abort_reason().ok()) {
    parts_.damage.NoteFamily(channel.target(), status);
    finished_[index] = {.target = channel.target(), .trailer = {.damaged = true}};
    gate_.Lose(status);
    return OkStatus();
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
