#include "plugins/tape/tape_device.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <span>
#include <utility>

#include "plugins/edge/quiet_thread.h"

namespace capstan::tape {
namespace {

// What ends a medium, behind what was in flight: control blocks, set maps, filemarks.
constexpr std::uint64_t kTrailerRoom = 1U << 20U;

Done Aborted() {
  return {.code = CAPSTAN_E_ABORTED,
          .failure = {.os_error = ECANCELED, .message = "the drive was closed before"}};
}

template <std::size_t kSize>
void Copy(const std::string& text, char (&field)[kSize]) {
  std::snprintf(field, kSize, "%s", text.c_str());
}

}  // namespace

Failure TapeDevice::Open(Parts parts, const capstan_open_params& params,
                         std::unique_ptr<TapeDevice>* result) {
  std::unique_ptr<TapeDevice> device(new TapeDevice(std::move(parts), params));
  Failure failure = device->mounting_.Open();
  if (!failure.failed()) {
    device->stream_.Mounted();
    device->thread_ = edge::QuietThread([self = device.get()] { self->Run(); });
    *result = std::move(device);
  }
  return failure;
}

TapeDevice::TapeDevice(Parts parts, const capstan_open_params& params)
    : name_(std::move(parts.name)),
      mode_(params.mode),
      transfer_size_max_(params.max_transfer_size),
      eject_when_done_(parts.eject_when_done),
      drive_(std::move(parts.drive)),
      mounting_({.name = name_,
                 .drive = *drive_,
                 .shelf = std::move(parts.shelf),
                 .memory = parts.memory,
                 .waiting = waiting_,
                 .mode = mode_,
                 .token = params.token == nullptr ? "" : params.token}),
      stream_(*drive_, parts.block_size) {}

TapeDevice::~TapeDevice() = default;

// --- the agent's side

Failure TapeDevice::Check(const capstan_request& request) const {
  const bool transfers = request.op == CAPSTAN_OP_READ || request.op == CAPSTAN_OP_WRITE;
  if (transfers && (request.size == 0 || request.size > transfer_size_max_)) {
    return {.os_error = EINVAL,
            .message = "a transfer of " + std::to_string(request.size) + " bytes is not possible"};
  }
  if (!writes() && (request.op == CAPSTAN_OP_WRITE || request.op == CAPSTAN_OP_WRITE_MARK)) {
    return {.os_error = EBADF, .message = "drive '" + name_ + "' was opened to be read"};
  }
  return {};
}

Failure TapeDevice::Submit(capstan_request* request) {
  if (Failure failure = Check(*request); failure.failed()) {
    return failure;
  }
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  if (request->op == CAPSTAN_OP_WRITE) {
    queued_bytes_ += request->size;
    queued_bytes_max_ = std::max(queued_bytes_max_, queued_bytes_);
  }
  changed_.notify_all();
  return {};
}

Failure TapeDevice::Close(std::uint32_t outcome) {
  if (outcome != CAPSTAN_OUTCOME_DONE || !writes()) {
    waiting_.GiveUp();
  }
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
  return End(outcome);
}

// What was written stays where it is: what the format does not say is whole is overwritten next.
Failure TapeDevice::End(std::uint32_t outcome) {
  const bool whole = !writes() || completed_;
  if (outcome != CAPSTAN_OUTCOME_DONE) {
    return {};
  }
  if (!whole) {
    return {.os_error = EINVAL,
            .message = "drive '" + name_ + "' was closed before the medium was complete"};
  }
  return eject_when_done_ && completed_ ? mounting_.Eject() : Failure{};
}

void TapeDevice::Status(capstan_device_status* status) {
  const DriveStatus drive = drive_->status();
  status->stops = drive.stops;
  status->medium_time_us = drive.medium_time_us;
  Copy(drive.mode, status->mode);
  Copy(mounting_.barcode(), status->medium);
  Copy(waiting_.waits_for(), status->waits_for);
}

// --- the device's thread

void TapeDevice::Run() {
  while (true) {
    capstan_request* request = nullptr;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !requests_.empty(); });
      if (requests_.empty()) {
        return;
      }
      request = requests_.front();
      requests_.pop_front();
      // Whatever is in flight when the medium warns must still fit behind the warning.
      stream_.set_reserve(2 * queued_bytes_max_ + kTrailerRoom);
    }
    Finish(request, waiting_.given_up() ? Aborted() : Carry(*request));
  }
}

void TapeDevice::Finish(capstan_request* request, const Done& done) {
  if (request->op == CAPSTAN_OP_WRITE) {
    const std::lock_guard lock(mutex_);
    queued_bytes_ -= request->size;
  }
  request->completion_code = done.code;
  request->bytes_transferred = done.bytes;
  request->out_position = done.position;
  if (done.failure.failed()) {
    FillError(done.failure, &request->error);
  }
  request->complete(request);  // which may be gone afterwards
}

Done TapeDevice::Carry(const capstan_request& request) {
  // Counts of skips are signed, as the device can go back.
  const auto count = static_cast<std::int32_t>(request.size);
  switch (request.op) {
    case CAPSTAN_OP_READ:
      return stream_.Read({static_cast<std::byte*>(request.buffer), request.size});
    case CAPSTAN_OP_WRITE:
    case CAPSTAN_OP_WRITE_MARK:
      return WriteThrough(request);
    case CAPSTAN_OP_CLEAR_ERROR:
      stream_.ClearError();
      return {};
    case CAPSTAN_OP_REWIND:
      return stream_.Rewind();
    case CAPSTAN_OP_SKIP_MARKS:
      return stream_.SkipMarks(count);
    case CAPSTAN_OP_SKIP_BLOCKS:
      return stream_.SkipBlocks(count);
    case CAPSTAN_OP_LOAD:
      return Load(request.size);
    case CAPSTAN_OP_GET_POSITION:
      return stream_.GetPosition();
    case CAPSTAN_OP_SET_POSITION:
      return stream_.SetPosition(request.size, request.position);
    case CAPSTAN_OP_FLUSH:
      return writes() ? stream_.Flush() : Done{};
    case CAPSTAN_OP_COMPLETE:
      return Complete();
    default:
      return {.code = CAPSTAN_E_UNSUPPORTED,
              .failure = {.os_error = ENOTSUP,
                          .message = "a tape has no operation " + std::to_string(request.op)}};
  }
}

Done TapeDevice::WriteThrough(const capstan_request& request) {
  if (!noted_) {
    if (Failure failure = mounting_.NoteWriting(); failure.failed()) {
      stream_.Break();
      return {.code = CAPSTAN_E_WRITE_FAULT, .failure = std::move(failure)};
    }
    noted_ = true;
  }
  written_ = true;
  return request.op == CAPSTAN_OP_WRITE
             ? stream_.Write({static_cast<const std::byte*>(request.buffer), request.size})
             : stream_.WriteMark();
}

Done TapeDevice::Load(std::uint32_t sequence) {
  if (sequence == 0) {
    return {.code = CAPSTAN_E_UNSUPPORTED,
            .failure = {.os_error = EINVAL, .message = "media are counted from 1"}};
  }
  if (written_) {
    if (Done flushed = stream_.Flush(); flushed.failure.failed()) {
      return flushed;
    }
  }
  written_ = false;
  Failure failure = mounting_.Load(sequence);
  if (failure.failed()) {
    const bool given_up = failure.os_error == ECANCELED;
    return {.code = given_up ? CAPSTAN_E_ABORTED : CAPSTAN_E_NO_MEDIUM,
            .failure = std::move(failure)};
  }
  noted_ = true;
  stream_.Mounted();
  return {};
}

Done TapeDevice::Complete() {
  if (!writes() || completed_) {
    return {};
  }
  if (stream_.broken()) {
    return {.code = CAPSTAN_E_WRITE_FAULT,
            .failure = {.os_error = EIO,
                        .message = "the medium in drive '" + name_ +
                                   "' cannot be complete, because a write to it has failed"}};
  }
  Done done = stream_.Flush();
  completed_ = !done.failure.failed();
  return done;
}

}  // namespace capstan::tape
