#include "server/engine/backup_pipeline.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "server/engine/restart/interrupted_backup.h"
#include "server/engine/restart/taken_up_family.h"
#include "server/messages/messages.h"
#include "vdi/base/crash_point.h"

namespace capstan::engine {
namespace {

// Small enough that what was just read is still in the core's own cache when its CRC is computed.
constexpr std::uint32_t kReadPiece = 256 << 10;  // bytes

}  // namespace

BackupPipeline::BackupPipeline(Parts parts,
                               std::vector<std::unique_ptr<media::FamilyWriter>> writers)
    : parts_(parts),
      file_bytes_(parts.session.description().files.size()),
      monitor_({parts.job, parts.observer, parts.set, error_, bytes_done_, parts.timeouts.device,
                parts.stats_percent}) {
  CAPSTAN_CHECK(parts.set.device_count() % writers.size() == 0);
  for (std::size_t i = 0; i < writers.size(); ++i) {
    std::vector<std::size_t> mirrors;
    for (std::size_t device = i; device < parts.set.device_count(); device += writers.size()) {
      mirrors.push_back(device);
    }
    families_.push_back(FamilyStream::Create({.set = parts.set,
                                              .devices = std::move(mirrors),
                                              .error = error_,
                                              .bytes_done = bytes_done_},
                                             std::move(writers[i])));
  }
  geometry_ = families_.front()->geometry();
}

Status BackupPipeline::RunStep(std::vector<std::function<Status()>> steps) {
  {
    WorkerGroup workers(error_);
    for (auto& step : steps) {
      workers.Start(std::move(step));
    }
    monitor_.RunUntil([&](std::chrono::milliseconds patience) {
      parts_.on_progress(bytes_done_.load());
      return workers.WaitAll(patience);
    });
  }
  monitor_.RunUntil(
      [&](std::chrono::milliseconds patience) { return parts_.set.pool().WaitIdle(patience); });
  return error_.failed() ? BestError() : OkStatus();
}

Status BackupPipeline::TakeUp(std::uint32_t restarts) {
  parts_.job.SetPhase("Checking what was written before");
  sequence_ = FirstSequence(restarts);
  const auto buffers = static_cast<std::uint32_t>(
      std::max<std::size_t>(1, parts_.set.pool().size() / families_.size()));
  std::vector<std::function<Status()>> steps;
  for (const auto& family : families_) {
    steps.emplace_back([this, &family, buffers] {
      return TakeUpFamily(
          {.set = parts_.set,
           .channel = family->channel(),
           .buffers = buffers,
           .coding = parts_.coding,
           .session = parts_.session,
           .writer = family->writer(),
           .error = error_,
           .on_kept = [this](const media::FrameExtent& frame) { NoteKept(frame); }});
    });
  }
  return RunStep(std::move(steps));
}

void BackupPipeline::NoteKept(const media::FrameExtent& frame) {
  digest_.Add(frame);
  file_bytes_[frame.file_index].fetch_add(frame.length, std::memory_order_relaxed);
  bytes_done_.fetch_add(frame.length, std::memory_order_relaxed);
}

bool BackupPipeline::ran_out_of_space() const {
  return std::any_of(families_.begin(), families_.end(), [](const auto& family) {
    return family->failure() == vdi::CompletionCode::kDiskFull;
  });
}

Status BackupPipeline::WriteData() {
  parts_.job.SetPhase("Writing media headers");
  std::vector<std::function<Status()>> preambles;
  for (const auto& family : families_) {
    preambles.emplace_back([&family] { return family->WritePreamble(); });
  }
  CAPSTAN_RETURN_IF_ERROR(RunStep(std::move(preambles)));

  parts_.job.SetPhase("Reading data");
  const std::uint64_t begin = MonotonicNanos();
  CAPSTAN_RETURN_IF_ERROR(ReadAll());
  times_.total_ns = MonotonicNanos() - begin;
  times_.read_ns = read_ns_.load();
  times_.checksum_ns = checksum_ns_.load();
  times_.starved_ns = parts_.set.pool().waited_ns();
  CAPSTAN_RETURN_IF_ERROR(parts_.session.End());
  CAPSTAN_CRASH_POINT("engine.after_data");
  return ExecuteOnAll(vdi::CommandCode::kFlush, "Flushing data");
}

Status BackupPipeline::ReadAll() {
  const auto volumes = static_cast<std::uint32_t>(parts_.session.description().volumes.size());
  CAPSTAN_RETURN_IF_ERROR(RunStep(Readers({.first = 0, .count = volumes})));
  bool has_tail = false;
  // A database may take its time to end a backup; meanwhile a cancel is heard.
  CAPSTAN_RETURN_IF_ERROR(RunStep({[&]() -> Status {
    CAPSTAN_ASSIGN_OR_RETURN(has_tail, parts_.session.BeginTail());
    return OkStatus();
  }}));
  if (has_tail) {
    parts_.job.SetPhase("Reading log");
    CAPSTAN_RETURN_IF_ERROR(RunStep(Readers({.first = volumes, .count = 1})));
  }
  // An estimate, where not all of the files was to be read, has come to its end.
  parts_.job.SetTotal(std::max<std::uint64_t>(1, bytes_done_.load()));
  return OkStatus();
}

std::vector<std::function<Status()>> BackupPipeline::Readers(Volumes volumes) {
  std::vector<std::function<Status()>> readers;
  if (parts_.coding.form.plain()) {
    for (std::uint32_t v = 0; v < volumes.count; ++v) {
      readers.emplace_back([this, v, volumes] { return ReadVolume(volumes.first + v); });
    }
    return readers;
  }
  if (volumes.count == 0) {
    return readers;
  }
  const std::size_t workers = std::max(1U, std::thread::hardware_concurrency());
  for (std::size_t w = 0; w < workers; ++w) {
    readers.emplace_back([this, volumes, w] { return CodeVolumes(volumes, w); });
  }
  return readers;
}

Status BackupPipeline::ReadVolume(std::uint32_t volume) {
  const AlignedBytes piece(kReadPiece);
  while (!error_.failed()) {
    CAPSTAN_ASSIGN_OR_RETURN(const auto extent,
                             parts_.session.NextExtent(volume, geometry_.payload_capacity));
    if (!extent) {
      return OkStatus();
    }
    TransferBuffer* buffer = parts_.set.pool().Take();
    if (buffer == nullptr) {
      return SqlError(3204);  // the pool was stopped; whoever stopped it has set the cause
    }
    std::uint32_t crc32c = 0;
    if (Status status =
            ReadPieces(*extent, buffer->data.subspan(geometry_.payload_offset, extent->length),
                       piece, &crc32c);
        !status.ok()) {
      parts_.set.pool().Return(buffer);
      return status;
    }
    media::FrameExtent frame = BeginFrame(*extent);
    frame.crc32c = crc32c;
    CAPSTAN_RETURN_IF_ERROR(SendFrame(buffer, frame));
  }
  return OkStatus();
}

Status BackupPipeline::CodeVolumes(Volumes volumes, std::size_t worker) {
  CAPSTAN_ASSIGN_OR_RETURN(ExtentEncoder encoder, ExtentEncoder::Create(parts_.coding));
  const Scratch scratch{
      .piece = AlignedBytes(kReadPiece),
      .payload = AlignedBytes(parts_.coding.form.compressed() ? geometry_.payload_capacity : 0)};
  // Each begins with another volume, and helps with the others when its own is done.
  for (std::size_t v = 0; v < volumes.count; ++v) {
    const std::uint32_t volume =
        volumes.first + static_cast<std::uint32_t>((worker + v) % volumes.count);
    while (!error_.failed()) {
      CAPSTAN_ASSIGN_OR_RETURN(const auto extent, NextExtent(volume));
      if (!extent) {
        break;
      }
      CAPSTAN_RETURN_IF_ERROR(CodeExtent(encoder, *extent, scratch));
    }
  }
  return OkStatus();
}

Result<std::optional<writers::Extent>> BackupPipeline::NextExtent(std::uint32_t volume) {
  MutexLock lock(extents_mutex_);
  return parts_.session.NextExtent(volume, geometry_.payload_capacity);
}

Status BackupPipeline::CodeExtent(ExtentEncoder& encoder, const writers::Extent& extent,
                                  const Scratch& scratch) {
  // What is compressed is read first, so that no transfer buffer waits for the database.
  const bool compressed = parts_.coding.form.compressed();
  std::span<std::byte> source = scratch.payload.span().first(compressed ? extent.length : 0);
  if (compressed) {
    CAPSTAN_RETURN_IF_ERROR(ReadPieces(extent, source, scratch.piece, nullptr));
  }
  TransferBuffer* buffer = parts_.set.pool().Take();
  if (buffer == nullptr) {
    return SqlError(3204);  // as above
  }
  const std::span<std::byte> stored = buffer->data.subspan(geometry_.payload_offset);
  if (!compressed) {
    source = stored.subspan(encoder.payload_lead(), extent.length);
    if (Status status = ReadPieces(extent, source, scratch.piece, nullptr); !status.ok()) {
      parts_.set.pool().Return(buffer);
      return status;
    }
  }
  media::FrameExtent frame = BeginFrame(extent);
  encoder.Encode(source, stored, &frame);
  return SendFrame(buffer, frame);
}

media::FrameExtent BackupPipeline::BeginFrame(const writers::Extent& extent) {
  file_bytes_[extent.file_index].fetch_add(extent.length, std::memory_order_relaxed);
  return {.file_index = extent.file_index,
          .file_offset = extent.offset,
          .length = extent.length,
          .sequence = sequence_.fetch_add(1, std::memory_order_relaxed)};
}

Status BackupPipeline::SendFrame(TransferBuffer* buffer, const media::FrameExtent& frame) {
  const auto& family =
      *std::min_element(families_.begin(), families_.end(),
                        [](const auto& a, const auto& b) { return a->load() < b->load(); });
  digest_.Add(frame);
  return family->WriteFrame(buffer, frame);
}

Status BackupPipeline::ReadPieces(const writers::Extent& extent, std::span<std::byte> target,
                                  const AlignedBytes& through, std::uint32_t* crc32c) {
  const bool in_place = BeginsOnCacheLine(target.data());
  std::uint32_t crc = 0;
  for (std::uint32_t at = 0; at < extent.length; at += kReadPiece) {
    const std::uint32_t length = std::min(kReadPiece, extent.length - at);
    const std::span<std::byte> place = target.subspan(at, length);
    const std::span<std::byte> piece = in_place ? place : through.span().first(length);
    const std::uint64_t begin = MonotonicNanos();
    CAPSTAN_RETURN_IF_ERROR(parts_.session.ReadExtent(
        {.file_index = extent.file_index, .offset = extent.offset + at, .length = length}, piece));
    if (!in_place) {
      CopyBytes(place, piece);
    }
    const std::uint64_t read = MonotonicNanos();
    read_ns_.fetch_add(read - begin, std::memory_order_relaxed);
    if (crc32c != nullptr) {
      crc = media::Crc32c(crc, piece);
      checksum_ns_.fetch_add(MonotonicNanos() - read, std::memory_order_relaxed);
    }
  }
  if (crc32c != nullptr) {
    *crc32c = crc;
  }
  return OkStatus();
}

Status BackupPipeline::WriteTrailers(media::BackupSet& final_set) {
  std::vector<media::FamilySummary> summaries;
  for (const auto& family : families_) {
    summaries.push_back(family->summary());
  }
  final_set.backup_size_bytes = 0;
  for (std::size_t i = 0; i < final_set.files.size(); ++i) {
    final_set.files[i].backup_size_bytes = file_bytes(i);
    final_set.backup_size_bytes += file_bytes(i);
  }
  if (!parts_.coding.form.plain()) {
    final_set.compressed_size_bytes = 0;
    for (const media::FamilySummary& summary : summaries) {
      final_set.compressed_size_bytes += summary.payload_bytes;
    }
  }
  final_set.digest = digest_.Value();
  parts_.job.SetPhase("Writing end of set");
  std::vector<std::function<Status()>> trailers;
  for (const auto& family : families_) {
    trailers.emplace_back(
        [&family, &final_set, &summaries] { return family->WriteTrailer(final_set, summaries); });
  }
  CAPSTAN_RETURN_IF_ERROR(RunStep(std::move(trailers)));
  CAPSTAN_CRASH_POINT("engine.after_trailers");
  CAPSTAN_RETURN_IF_ERROR(ExecuteOnAll(vdi::CommandCode::kFlush, "Flushing end of set"));
  monitor_.Report();
  return OkStatus();
}

Status BackupPipeline::Complete() {
  monitor_.IgnoreCancel();
  if (!parts_.set.complete_enabled()) {
    return OkStatus();  // such a client commits at its last Flush
  }
  return ExecuteOnAll(vdi::CommandCode::kComplete, "Committing");
}

Status BackupPipeline::ExecuteOnAll(vdi::CommandCode code, std::string_view phase) {
  parts_.job.SetPhase(phase);
  std::vector<std::function<Status()>> steps;
  for (std::size_t i = 0; i < parts_.set.device_count(); ++i) {
    steps.emplace_back([this, code, i] {
      return parts_.set.Execute(Direction::kWrite, parts_.set.device(i), code);
    });
  }
  return RunStep(std::move(steps));
}

Status BackupPipeline::BestError() {
  const Status status = error_.status();
  for (const auto& family : families_) {
    if (status.reason() == 3202 && family->failure() != vdi::CompletionCode::kSuccess &&
        family->failure() != vdi::CompletionCode::kOperationAborted) {
      return parts_.set.ErrorOf(Direction::kWrite, family->channel(), family->failure());
    }
  }
  // A command that was waited for has said what ended it, and where.
  const bool has_words = !status.hint().empty();
  if (status.reason() == 3202 && !has_words && !parts_.set.abort_reason().ok()) {
    return parts_.set.ErrorOf(Direction::kWrite, families_.front()->channel(),
                              vdi::CompletionCode::kOperationAborted);
  }
  return status;
}

}  // namespace capstan::engine
