#include "plugins/s3/s3_device.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <exception>
#include <future>
#include <limits>
#include <span>
#include <utility>

#include "plugins/edge/quiet_thread.h"

namespace capstan::s3 {
namespace {

constexpr std::size_t kMiB = 1U << 20;
// Together less than the five seconds of plugin.h.
constexpr std::chrono::seconds kGraceTime{1};
constexpr std::chrono::seconds kDiscardTime{3};
constexpr int kReadsInFlightMax = 16;
// A part may take this share of the memory, so that one is filled while others are sent.
constexpr int kPartShare = 3;

bool IsTransfer(const capstan_request& request) {
  return request.op == CAPSTAN_OP_READ || request.op == CAPSTAN_OP_WRITE;
}

PartPlan PlanOf(const Settings& settings, std::uint64_t size_estimate) {
  const std::int64_t first = settings.part_size_mb * PartPlan::kMiB;
  const std::int64_t estimate = static_cast<std::int64_t>(
      std::min<std::uint64_t>(size_estimate, std::numeric_limits<std::int64_t>::max()));
  return {first, settings.memory_mb * PartPlan::kMiB / kPartShare, estimate};
}

}  // namespace

S3Device::S3Device(const capstan_open_params& params, MediumUrl url)
    : url_(std::move(url)), mode_(params.mode), transfer_size_max_(params.max_transfer_size) {}

Failure S3Device::Open(const capstan_open_params& params, HttpClient& http, PartMemory& memory,
                       std::unique_ptr<S3Device>* result) {
  MediumUrl url;
  if (Failure failure = MediumUrl::Parse(params.target, &url); failure.failed()) {
    return failure;
  }
  std::unique_ptr<S3Device> device(new S3Device(params, url));
  Failure failure = ObjectStore::Open(http, url, &device->store_);
  if (!failure.failed()) {
    failure = params.mode == CAPSTAN_OPEN_READ ? device->OpenForRead(memory)
                                               : device->OpenForWrite(params, memory);
  }
  if (failure.failed()) {
    return failure;
  }
  device->thread_ = edge::QuietThread([self = device.get()] { self->Run(); });
  *result = std::move(device);
  return Failure::None();
}

S3Device::~S3Device() = default;

Failure S3Device::OpenForRead(PartMemory& memory) {
  Medium medium;
  if (Failure failure = ReadMedium(*store_, url_, &medium); failure.failed()) {
    return failure;
  }
  if (!medium.exists()) {
    return Failure::Of(ENOENT, "unable to open medium '" + url_.text + "'");
  }
  reader_ = std::make_unique<RangedReader>(*store_, std::move(medium));
  const Settings& settings = store_->settings();
  read_ahead_ = std::make_unique<ReadAhead>(
      *reader_, memory,
      ReadAhead::Options{.chunk_size = static_cast<std::size_t>(settings.part_size_mb) * kMiB,
                         .memory = static_cast<std::size_t>(settings.memory_mb) * kMiB});
  return Failure::None();
}

Failure S3Device::OpenForWrite(const capstan_open_params& params, PartMemory& memory) {
  const Writing::Kind kind = mode_ == CAPSTAN_OPEN_APPEND   ? Writing::Kind::kAppend
                             : mode_ == CAPSTAN_OPEN_CREATE ? Writing::Kind::kCreate
                                                            : Writing::Kind::kReplace;
  Failure failure = Writing::Begin(
      *store_, url_,
      {.kind = kind, .token = params.token, .retain_until_unix_s = params.retain_until_unix_s},
      &writing_);
  if (failure.failed()) {
    return failure;
  }
  committed_ = writing_->before().size;
  if (kind == Writing::Kind::kAppend) {
    reader_ = std::make_unique<RangedReader>(*store_, writing_->before());
  }
  const Settings& settings = store_->settings();
  parts_ = std::make_unique<PartWriter>(
      memory,
      PartWriter::Options{.plan = PlanOf(settings, params.size_estimate),
                          .memory = static_cast<std::size_t>(settings.memory_mb) * kMiB,
                          .give_up = give_up_},
      [this](const PartPlace& place, Upload** upload) {
        return writing_->UploadFor(place, upload);
      });
  return Failure::None();
}

const char* S3Device::mode() const {
  return writing_ ? "multipart upload" : "ranged reads";
}

std::int64_t S3Device::end() const {
  return writing_ ? committed_ + parts_->end() : reader_->size();
}

Failure S3Device::CheckTransfer(const capstan_request& request) const {
  if (request.op == CAPSTAN_OP_WRITE && !writing_) {
    return Failure::Of(EBADF, "medium '" + url_.text + "' is open for reading only");
  }
  if (request.buffer == nullptr || request.size == 0 || request.size > transfer_size_max_ ||
      request.position < 0 ||
      request.position > std::numeric_limits<std::int64_t>::max() - request.size) {
    return Failure::Of(EINVAL, "a transfer of " + std::to_string(request.size) + " bytes at " +
                                   std::to_string(request.position) + " on medium '" + url_.text +
                                   "' is out of range");
  }
  if (request.op == CAPSTAN_OP_WRITE && request.position < committed_) {
    return Failure::Of(EINVAL, "a write at " + std::to_string(request.position) +
                                   " would change what medium '" + url_.text + "' held before");
  }
  return Failure::None();
}

Failure S3Device::Submit(capstan_request* request) {
  if (IsTransfer(*request)) {
    if (Failure failure = CheckTransfer(*request); failure.failed()) {
      return failure;
    }
  }
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  changed_.notify_all();
  return Failure::None();
}

void S3Device::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !requests_.empty(); });
    if (requests_.empty()) {
      return;
    }
    capstan_request* const request = requests_.front();
    lock.unlock();
    Carry(request);
    lock.lock();
    requests_.pop_front();
    changed_.notify_all();
  }
}

void S3Device::Carry(capstan_request* request) {
  try {
    if (give_up_->load(std::memory_order_acquire)) {
      Finish(request, CAPSTAN_E_ABORTED,
             Failure::Of(ECANCELED, "medium '" + url_.text + "' is being closed"));
    } else if (request->op == CAPSTAN_OP_WRITE) {
      Write(request);
    } else if (request->op == CAPSTAN_OP_READ) {
      Read(request);
    } else {
      WaitForReads();
      const Failure failure = Control(request);
      Finish(request,
             failure.failed() ? CompletionCodeOf(failure.os_error, request->op) : CAPSTAN_E_OK,
             failure);
    }
  } catch (const std::exception&) {  // of the standard library: memory, mostly
    Finish(request, CompletionCodeOf(ENOMEM, request->op),
           Failure::Of(ENOMEM, "the S3 plugin lacks resources for medium '" + url_.text + "'"));
  }
}

void S3Device::Finish(capstan_request* request, std::uint32_t code, const Failure& failure) {
  request->completion_code = code;
  FillError(failure, &request->error);
  request->complete(request);  // last: the request may be gone afterwards
}

void S3Device::Write(capstan_request* request) {
  const Failure failure =
      parts_->Write(request->position - committed_,
                    {static_cast<const std::byte*>(request->buffer), request->size});
  if (failure.failed()) {
    Finish(request, CompletionCodeOf(failure.os_error, request->op), failure);
    return;
  }
  request->bytes_transferred = request->size;
  {
    const std::lock_guard lock(mutex_);
    cursor_ = request->position + request->size;
  }
  Finish(request, CAPSTAN_E_OK, Failure::None());
}

void S3Device::Read(capstan_request* request) {
  const std::int64_t there = std::max<std::int64_t>(end() - request->position, 0);
  const auto count = static_cast<std::uint32_t>(std::min<std::int64_t>(there, request->size));
  if (count == 0) {
    FinishRead(request, 0, Failure::None());
    return;
  }
  if (writing_) {
    FinishRead(request, count, ReadBack(request, count));
    return;
  }
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return reads_in_flight_ < kReadsInFlightMax; });
    ++reads_in_flight_;
  }
  read_ahead_->Start(request->position, {static_cast<std::byte*>(request->buffer), count},
                     [this, request, count](const Failure& failure) {
                       FinishRead(request, count, failure);
                       const std::lock_guard lock(mutex_);
                       --reads_in_flight_;
                       changed_.notify_all();
                     });
}

// A writer reads what was there before from the server, and its own bytes from memory.
Failure S3Device::ReadBack(capstan_request* request, std::uint32_t count) {
  std::span<std::byte> target(static_cast<std::byte*>(request->buffer), count);
  std::int64_t position = request->position;
  if (position < committed_) {
    const auto before =
        static_cast<std::size_t>(std::min<std::int64_t>(count, committed_ - position));
    std::promise<Failure> promise;
    std::future<Failure> answer = promise.get_future();
    reader_->Start(position, target.first(before),
                   [&promise](Failure failure) { promise.set_value(std::move(failure)); });
    if (Failure failure = answer.get(); failure.failed()) {
      return failure;
    }
    target = target.subspan(before);
    position += static_cast<std::int64_t>(before);
  }
  if (!target.empty() && !parts_->Read(position - committed_, target)) {
    return Failure::Of(
        EIO, "what was sent of medium '" + url_.text + "' cannot be read before it is complete");
  }
  return Failure::None();
}

void S3Device::FinishRead(capstan_request* request, std::uint32_t count, const Failure& failure) {
  if (failure.failed()) {
    Finish(request, CompletionCodeOf(failure.os_error, request->op), failure);
    return;
  }
  request->bytes_transferred = count;
  {
    const std::lock_guard lock(mutex_);
    cursor_ = request->position + count;
  }
  const bool whole = count == request->size;
  Finish(request, whole ? CAPSTAN_E_OK : CAPSTAN_E_END,
         whole ? Failure::None() : Failure::Of(0, "end of data of medium '" + url_.text + "'"));
}

void S3Device::WaitForReads() {
  std::unique_lock lock(mutex_);
  // Bounded by the client, which gives up sooner or later.
  changed_.wait(lock, [this] { return reads_in_flight_ == 0; });
}

Failure S3Device::Control(capstan_request* request) {
  switch (request->op) {
    case CAPSTAN_OP_CLEAR_ERROR:
      if (parts_) {
        parts_->ClearFailure();
      }
      return Failure::None();
    case CAPSTAN_OP_REWIND:
      cursor_ = 0;
      return Failure::None();
    case CAPSTAN_OP_GET_POSITION:
      request->out_position = cursor_;
      return Failure::None();
    case CAPSTAN_OP_SET_POSITION:
      return SetPosition(request);
    case CAPSTAN_OP_FLUSH:
      return Flush();
    case CAPSTAN_OP_COMPLETE:
      return Complete();
    default:
      return Failure::Of(
          ENOTSUP, "medium '" + url_.text + "' has no operation " + std::to_string(request->op));
  }
}

Failure S3Device::SetPosition(capstan_request* request) {
  enum Whence : std::uint32_t { kBegin = 0, kCurrent = 1, kEnd = 2 };
  if (request->size > kEnd) {
    return Failure::Of(EINVAL, "unknown whence " + std::to_string(request->size));
  }
  const std::int64_t base = request->size == kBegin     ? 0
                            : request->size == kCurrent ? cursor_
                                                        : end();
  std::int64_t position = 0;
  if (__builtin_add_overflow(base, request->position, &position) || position < 0) {
    return Failure::Of(EINVAL, "unable to set the position of medium '" + url_.text + "'");
  }
  cursor_ = position;
  request->out_position = position;
  return Failure::None();
}

Failure S3Device::Flush() {
  Failure failure = parts_ ? parts_->Flush() : Failure::None();
  return failure.failed() || !writing_ ? failure : writing_->Noted();
}

Failure S3Device::Complete() {
  if (!writing_ || writing_->published()) {
    return Failure::None();
  }
  if (Failure failure = parts_->Flush(); failure.failed()) {
    return failure;
  }
  parts_->Forget();
  return writing_->Publish();
}

Failure S3Device::Close(std::uint32_t outcome) {
  if (outcome != CAPSTAN_OUTCOME_DONE && writing_) {
    // What the server is about to answer anyway is worth a moment.
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kGraceTime, [this] { return requests_.empty(); })) {
      writing_->LetNoteArrive(kGraceTime);  // thread_ has nothing to do with it now
    }
  }
  // A reader is done with what it has read ahead, too.
  if (outcome != CAPSTAN_OUTCOME_DONE || !writing_) {
    give_up_->store(true, std::memory_order_release);
    store_->client().BreakOff(kDiscardTime);
  }
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return requests_.empty() && reads_in_flight_ == 0; });
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
  parts_.reset();
  read_ahead_.reset();
  return End(outcome);
}

Failure S3Device::End(std::uint32_t outcome) {
  if (!writing_ || outcome == CAPSTAN_OUTCOME_KEEP) {
    return Failure::None();
  }
  if (outcome == CAPSTAN_OUTCOME_DISCARD) {
    return writing_->Discard();
  }
  if (writing_->published()) {
    return Failure::None();
  }
  Failure failure = writing_->Discard();
  return failure.failed()
             ? failure
             : Failure::Of(EINVAL, "medium '" + url_.text + "' was closed before it was complete");
}

}  // namespace capstan::s3
