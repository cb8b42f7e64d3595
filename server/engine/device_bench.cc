#include "server/engine/device_bench.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <utility>

#include "server/engine/monitor.h"
#include "server/engine/open_set.h"
#include "server/engine/worker_group.h"
#include "server/messages/messages.h"
#include "vdi/base/guid.h"

namespace capstan::engine {
namespace {

constexpr std::uint32_t kBufferCount = 8;
constexpr std::chrono::milliseconds kPatience{100};

// A bijection of 64 bits that leaves no pattern (the finisher of a counter-based generator).
std::uint64_t Scramble(std::uint64_t x) {
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
  return x ^ (x >> 32);
}

double SecondsSince(std::uint64_t begin_ns) {
  return static_cast<double>(MonotonicNanos() - begin_ns) / 1e9;
}

// Moves the whole medium once, in one direction.
class Transfer {
 public:
  Transfer(OpenSet& set, Direction direction, FirstError& error)
      : set_(set), direction_(direction), error_(error) {}

  // A worker's: returns when nothing is in flight, whatever happened. The monitor ends every wait.
  Status Run(std::uint64_t size, std::uint32_t transfer_size) {
    Status sent;
    for (std::uint64_t position = 0; position < size && sent.ok() && !error_.failed();
         position += transfer_size) {
      sent =
          Send(position,
               static_cast<std::uint32_t>(std::min<std::uint64_t>(transfer_size, size - position)));
    }
    while (!set_.pool().WaitIdle(kPatience)) {
    }
    // On this thread: it may wait for what the agent has to say.
    return failed_code_ == vdi::CompletionCode::kSuccess
               ? std::move(sent)
               : set_.ErrorOf(direction_, channel(), failed_code_);
  }

  DeviceBenchStep Figures() {
    const MutexLock lock(mutex_);
    DeviceBenchStep step;
    step.requests = requests_;
    step.latency_ms = requests_ == 0
                          ? 0
                          : static_cast<double>(latency_ns_) / 1e6 / static_cast<double>(requests_);
    step.latency_max_ms = static_cast<double>(latency_max_ns_) / 1e6;
    return step;
  }

  const std::atomic<std::uint64_t>& bytes_done() const { return bytes_done_; }

 private:
  DeviceChannel& channel() { return set_.device(0); }

  // Waits for a buffer.
  Status Send(std::uint64_t position, std::uint32_t bytes) {
    TransferBuffer* const buffer = set_.pool().Take();
    if (buffer == nullptr) {
      return SqlError(3204);
    }
    if (direction_ == Direction::kWrite) {
      FillBenchBytes(position, buffer->data.data(), bytes);
    }
    buffer->Prepare({.code = direction_ == Direction::kWrite ? vdi::CommandCode::kWrite
                                                             : vdi::CommandCode::kRead,
                     .size = bytes,
                     .position = position,
                     .on_done = &Transfer::OnDone,
                     .sender = this});
    NoteBegin(buffer);
    Status sent = channel().Send(&buffer->command());
    if (!sent.ok()) {
      set_.pool().Return(buffer);
    }
    return sent.code() == Code::kAborted
               ? set_.ErrorOf(direction_, channel(), vdi::CompletionCode::kOperationAborted)
               : std::move(sent);
  }

  void NoteBegin(const TransferBuffer* buffer) CAPSTAN_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    begun_ns_[buffer] = MonotonicNanos();
  }

  static void OnDone(vdi::ServerCommand* command) {
    auto* const buffer = static_cast<TransferBuffer*>(command->completion_context);
    static_cast<Transfer*>(buffer->owner)->Done(*buffer);
  }

  void Done(TransferBuffer& buffer) CAPSTAN_EXCLUDES(mutex_) {
    const vdi::ServerCommand& command = buffer.command();
    channel().NoteCompletion(command);
    const bool whole = command.completion_code == vdi::CompletionCode::kSuccess &&
                       command.bytes_transferred == command.size;
    {
      const MutexLock lock(mutex_);
      const std::uint64_t ns = MonotonicNanos() - begun_ns_[&buffer];
      ++requests_;
      latency_ns_ += ns;
      latency_max_ns_ = std::max(latency_max_ns_, ns);
      if (!whole && failed_code_ == vdi::CompletionCode::kSuccess) {
        failed_code_ = command.completion_code == vdi::CompletionCode::kSuccess
                           ? vdi::CompletionCode::kHandleEof
                           : command.completion_code;
      }
    }
    if (whole) {
      bytes_done_.fetch_add(command.size, std::memory_order_relaxed);
    }
    if (whole && direction_ == Direction::kRead &&
        !AreBenchBytes(static_cast<std::uint64_t>(command.position), buffer.data.data(),
                       command.size)) {
      error_.Set(SqlError(3203, channel().target(),
                          "23(the bytes that were read are not those that were written)"));
    }
    set_.pool().Return(&buffer);
  }

  OpenSet& set_;
  const Direction direction_;
  FirstError& error_;
  std::atomic<std::uint64_t> bytes_done_{0};

  Mutex mutex_;
  std::map<const TransferBuffer*, std::uint64_t> begun_ns_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint64_t requests_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::uint64_t latency_ns_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::uint64_t latency_max_ns_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  // Written under the lock, read when nothing is in flight.
  vdi::CompletionCode failed_code_ = vdi::CompletionCode::kSuccess;
};

class DeviceBench {
 public:
  DeviceBench(const Engine::Parts& parts, const DeviceBenchRequest& request, Job& job,
              JobObserver& observer)
      : parts_(parts), request_(request), job_(job), observer_(observer) {}

  Status Run() {
    job_.SetTotal(request_.size * (request_.read ? 2 : 1));
    target_ = {.name = request_.medium, .token = Guid::Random().ToString()};
    const Status written = Write();
    if (!written.ok()) {
      // As if there had been none; what was begun is under the token, what was committed under the
      // name, which was free.
      (void)parts_.devices.Recover(request_.device_class, target_, RecoverAction::kDiscard,
                                   Deadline::After(parts_.settings.timeouts.recover));
      if (created_) {
        (void)Remove();
      }
      return written;
    }
    const Status read = request_.read ? Read() : OkStatus();
    const Status removed = Remove();
    return read.ok() ? removed : read;
  }

  std::vector<DeviceBenchStep> TakeSteps() { return std::move(steps_); }

 private:
  Result<std::unique_ptr<OpenSet>> Open(OpenMode mode) {
    DeviceSetRequest request;
    request.device_class = request_.device_class;
    request.mode = mode;
    request.targets = {target_};
    request.size_estimate = request_.size;
    request.job_id = request_.session_id;
    request.cancelled = [this] { return job_.cancelled(); };
    OpenSetOptions options;
    CAPSTAN_ASSIGN_OR_RETURN(options.plan,
                             PlanBuffers({.buffer_count = kBufferCount,
                                          .max_transfer_size = request_.transfer_size,
                                          .memory_limit = parts_.settings.buffer_memory_limit}));
    options.timeouts = parts_.settings.timeouts;
    options.error_log = &parts_.error_log;
    return OpenSet::Open(parts_.devices, request, options);
  }

  Status Write() {
    CAPSTAN_ASSIGN_OR_RETURN(const auto set, Open(OpenMode::kCreate));
    CAPSTAN_RETURN_IF_ERROR(Move(*set, Direction::kWrite, "write"));
    CAPSTAN_RETURN_IF_ERROR(Timed(*set, vdi::CommandCode::kFlush, "flush"));
    if (set->complete_enabled()) {
      created_ = true;  // from here on it may be there under its name
      CAPSTAN_RETURN_IF_ERROR(Timed(*set, vdi::CommandCode::kComplete, "commit"));
    }
    created_ = true;
    return set->Close();
  }

  Status Read() {
    CAPSTAN_ASSIGN_OR_RETURN(const auto set, Open(OpenMode::kRead));
    CAPSTAN_RETURN_IF_ERROR(Move(*set, Direction::kRead, "read"));
    return set->Close();
  }

  Status Remove() {
    return parts_.devices.Remove(request_.device_class, target_,
                                 Deadline::After(parts_.settings.timeouts.recover));
  }

  Status Move(OpenSet& set, Direction direction, const char* name) {
    job_.SetPhase(direction == Direction::kWrite ? "Writing data" : "Reading data");
    const std::uint64_t begin = MonotonicNanos();
    const std::uint64_t busy_before = set.device(0).busy_ns();
    FirstError error;
    Transfer transfer(set, direction, error);
    Monitor monitor(
        {job_, observer_, set, error, transfer.bytes_done(), parts_.settings.timeouts.device, {}});
    {
      WorkerGroup worker(error);
      worker.Start([&] { return transfer.Run(request_.size, request_.transfer_size); });
      monitor.RunUntil([&](auto patience) { return worker.WaitAll(patience); });
    }
    monitor.Report();
    if (error.failed()) {
      return error.status();
    }
    DeviceBenchStep step = transfer.Figures();
    step.name = name;
    step.bytes = request_.size;
    step.seconds = SecondsSince(begin);
    const double ns = step.seconds * 1e9;
    step.waits_for_device = std::min(1.0, static_cast<double>(set.pool().waited_ns()) / ns);
    step.device_idle =
        std::clamp(1 - static_cast<double>(set.device(0).busy_ns() - busy_before) / ns, 0.0, 1.0);
    steps_.push_back(std::move(step));
    return OkStatus();
  }

  // A command without data, watched like the transfers.
  Status Timed(OpenSet& set, vdi::CommandCode code, const char* name) {
    const std::uint64_t begin = MonotonicNanos();
    FirstError error;
    const std::atomic<std::uint64_t> bytes_done{request_.size};
    Monitor monitor({job_, observer_, set, error, bytes_done, parts_.settings.timeouts.device, {}});
    {
      WorkerGroup worker(error);
      worker.Start([&] { return set.Execute(Direction::kWrite, set.device(0), code); });
      monitor.RunUntil([&](auto patience) { return worker.WaitAll(patience); });
    }
    if (error.failed()) {
      return error.status();
    }
    steps_.push_back({.name = name, .seconds = SecondsSince(begin)});
    return OkStatus();
  }

  const Engine::Parts& parts_;
  const DeviceBenchRequest& request_;
  Job& job_;
  JobObserver& observer_;
  DeviceTarget target_;
  bool created_ = false;  // there may be something under the name, and it is ours
  std::vector<DeviceBenchStep> steps_;
};

}  // namespace

void FillBenchBytes(std::uint64_t position, std::byte* target, std::size_t size) {
  for (std::size_t i = 0; i < size; i += sizeof(std::uint64_t)) {
    const std::uint64_t word = Scramble(position + i + 1);
    std::memcpy(target + i, &word, sizeof(word));
  }
}

bool AreBenchBytes(std::uint64_t position, const std::byte* bytes, std::size_t size) {
  std::uint64_t difference = 0;
  for (std::size_t i = 0; i < size; i += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + i, sizeof(word));
    difference |= word ^ Scramble(position + i + 1);
  }
  return difference == 0;
}

Result<std::vector<DeviceBenchStep>> RunDeviceBench(const Engine::Parts& parts,
                                                    const DeviceBenchRequest& request,
                                                    JobObserver& observer) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::shared_ptr<Job> job,
                           parts.jobs.Start({.session_id = request.session_id,
                                             .command = "DEVICE BENCH",
                                             .database = "",
                                             .statement = request.statement}));
  DeviceBench bench(parts, request, *job, observer);
  const Status status = bench.Run();
  parts.jobs.Finish(job);
  CAPSTAN_RETURN_IF_ERROR(status);
  return bench.TakeSteps();
}

}  // namespace capstan::engine
