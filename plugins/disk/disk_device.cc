#include "plugins/disk/disk_device.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "plugins/disk/append_note.h"
#include "plugins/disk/appending.h"
#include "plugins/disk/construction.h"
#include "plugins/disk/medium_directory.h"
#include "plugins/disk/thread_queue.h"
#include "plugins/disk/uring_queue.h"

namespace capstan::disk {
namespace {

constexpr std::uint32_t kRetriesMax = 1000;  // in a row, of interrupted attempts
constexpr int kReplacementsMax = 10;         // in a row, while a reader opens
constexpr auto kPresenceInterval = std::chrono::seconds(1);
constexpr unsigned kMemoryMajor = 1;  // /dev/null, /dev/zero, /dev/full
constexpr unsigned kNullMinor = 3;
constexpr unsigned kTapeMajor = 9;

// CAPSTAN_DISK_IO may hold "threads": no io_uring, for kernels where it is not trusted.
bool UringIsWanted() {
  const char* const wish = std::getenv("CAPSTAN_DISK_IO");
  return wish == nullptr || std::strstr(wish, "threads") == nullptr;
}

Failure NotAMedium(const std::string& path, const char* what, const char* advice) {
  return Failure::Of(ENOTSUP, "'" + path + "' is " + what + " and cannot be a medium" + advice);
}

Failure CheckKind(const std::string& path, mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return Failure::None();
    case S_IFDIR:
      return Failure::Of(EISDIR, "medium '" + path + "' is a directory");
    case S_IFBLK:
      return NotAMedium(path, "a block device", "; put a file system on it and name a file there");
    case S_IFIFO:
      return NotAMedium(path, "a pipe", "; a program that wants the bytes is a virtual device");
    case S_IFSOCK:
      return NotAMedium(path, "a socket", "");
    default:
      return NotAMedium(path, "of an unknown kind", "");
  }
}

}  // namespace

DiskDevice::DiskDevice(const capstan_open_params& params)
    : target_(params.target),
      mode_(params.mode),
      resumed_((params.flags & CAPSTAN_OPEN_RESUME) != 0),
      transfer_size_max_(params.max_transfer_size),
      checked_(std::chrono::steady_clock::now()) {}

Failure DiskDevice::Open(const capstan_open_params& params, std::unique_ptr<DiskDevice>* result) {
  std::unique_ptr<DiskDevice> device(new DiskDevice(params));
  if (Failure failure = device->OpenMedium(params); failure.failed()) {
    return failure;
  }
  if (Failure failure = device->StartQueue(params.queue_depth_max); failure.failed()) {
    return failure;
  }
  *result = std::move(device);
  return Failure::None();
}

Failure DiskDevice::OpenMedium(const capstan_open_params& params) {
  MediumPath path;
  if (Failure failure = MediumPath::Resolve(target_, &path); failure.failed()) {
    return failure;
  }
  struct stat status {};
  if (::stat(path.path.c_str(), &status) != 0) {
    // A missing file is what the opening itself reports, or what it creates.
    if (errno != ENOENT) {
      return Failure::Unable(errno, "look up", target_);
    }
  } else if (S_ISCHR(status.st_mode)) {
    return OpenCharacterDevice(path, status.st_rdev);
  } else if (Failure failure = CheckKind(target_, status.st_mode); failure.failed()) {
    return failure;
  }
  return mode_ == CAPSTAN_OPEN_READ ? OpenForRead(path) : OpenForWrite(path, params);
}

Failure DiskDevice::OpenForRead(const MediumPath& path) {
  if (Failure failure = file_.Open(path.path, O_RDONLY); failure.failed()) {
    return failure;
  }
  // A reader keeps nobody out: neither replacing nor appending disturbs it.
  return IsLocked(file_.fd()) ? HeldBy(file_.fd(), target_) : FindReadEnd(path);
}

// The notes tell of the medium that has the name now, so look at that one.
Failure DiskDevice::FindReadEnd(const MediumPath& path) {
  for (int tries = 0; tries < kReplacementsMax; ++tries) {
    struct stat held {};
    struct stat named {};
    if (Failure failure = FindCommittedSize(path, file_.fd(), &read_end_); failure.failed()) {
      return failure;
    }
    if (::fstat(file_.fd(), &held) != 0 || ::stat(path.path.c_str(), &named) != 0) {
      return Failure::Unable(errno, "look at", target_);
    }
    if (SameFile(held, named)) {
      return Failure::None();
    }
    if (Failure failure = file_.Open(path.path, O_RDONLY); failure.failed()) {
      return failure;
    }
  }
  return Failure::Of(EBUSY, "medium '" + target_ + "' is being replaced over and over");
}

Failure DiskDevice::OpenForWrite(const MediumPath& path, const capstan_open_params& params) {
  if (Failure failure = BeginWriting(path, params); failure.failed()) {
    return failure;
  }
  file_.Attach(writing_->fd(), writing_->file_path());
  data_end_ = writing_->committed();
  AllocateAhead(params.size_estimate);
  return Failure::None();
}

Failure DiskDevice::BeginWriting(const MediumPath& path, const capstan_open_params& params) {
  if (mode_ == CAPSTAN_OPEN_APPEND) {
    std::unique_ptr<Appending> appending;
    Failure failure = Appending::Begin(path, params.token, &appending);
    writing_ = std::move(appending);
    return failure;
  }
  const auto name_taken = mode_ == CAPSTAN_OPEN_CREATE ? Construction::NameTaken::kRefuse
                                                       : Construction::NameTaken::kReplace;
  const auto begin = resumed_ ? &Construction::Resume : &Construction::Begin;
  std::unique_ptr<Construction> construction;
  Failure failure = begin(path, params.token, name_taken, &construction);
  writing_ = std::move(construction);
  return failure;
}

// Behind all that the file holds, also if an earlier device wrote it: the rest of the estimate,
// which is of the whole medium.
void DiskDevice::AllocateAhead(std::uint64_t size_estimate) {
  struct stat status {};
  if (::fstat(file_.fd(), &status) != 0) {
    return;
  }
  const auto there = resumed_ ? static_cast<std::uint64_t>(status.st_size) : 0;
  if (size_estimate > there) {
    file_.AllocateAhead(status.st_size, size_estimate - there);
  }
}

Failure DiskDevice::OpenCharacterDevice(const MediumPath& path, std::uint64_t device_number) {
  if (major(device_number) == kTapeMajor) {
    return NotAMedium(path.path, "a tape", " on disk; name it with TAPE =");
  }
  if (major(device_number) != kMemoryMajor) {
    return NotAMedium(path.path, "a character device", "");
  }
  if (resumed_) {
    return Failure::Of(ENOENT, "'" + path.path + "' keeps nothing that could be gone on with");
  }
  null_ = minor(device_number) == kNullMinor;
  return file_.Open(path.path, mode_ == CAPSTAN_OPEN_READ ? O_RDONLY : O_RDWR);
}

Failure DiskDevice::StartQueue(std::uint32_t depth) try {
  if (null_) {
    return Failure::None();
  }
  RequestHandler& handler = *this;
  // Through the page cache io_uring hands every transfer to a kernel thread, and those get in each
  // other's way: one thread of our own is several times faster there.
  if (file_.direct() && UringIsWanted()) {
    queue_ = UringQueue::Create(handler, depth);
  }
  if (!queue_) {
    queue_ = std::make_unique<ThreadQueue>(handler);
  }
  return Failure::None();
} catch (const std::exception& error) {
  // A thread that cannot be started. What was begun has no owner yet who could discard it; what was
  // there before has.
  if (writing_ && !resumed_) {
    [[maybe_unused]] const Failure ignored = writing_->Discard();
  }
  return Failure::Of(EAGAIN,
                     "unable to start the queue of medium '" + target_ + "': " + error.what());
}

const char* DiskDevice::mode() const {
  if (null_) {
    return "null";
  }
  if (queue_->uses_io_uring()) {
    return file_.direct() ? "io_uring direct" : "io_uring buffered";
  }
  return file_.direct() ? "pread/pwrite direct" : "pread/pwrite buffered";
}

Failure DiskDevice::CheckTransfer(const capstan_request& request) const {
  if (request.op == CAPSTAN_OP_WRITE && mode_ == CAPSTAN_OPEN_READ) {
    return Failure::Of(EBADF, "medium '" + target_ + "' is open for reading only");
  }
  if (request.buffer == nullptr || request.size == 0 || request.size > transfer_size_max_ ||
      request.position < 0) {
    return Failure::Of(EINVAL, "a transfer of " + std::to_string(request.size) + " bytes at " +
                                   std::to_string(request.position) + " on medium '" + target_ +
                                   "' is out of range");
  }
  if (request.op == CAPSTAN_OP_WRITE && writing_ && request.position < writing_->committed()) {
    return Failure::Of(EINVAL, "a write at " + std::to_string(request.position) +
                                   " would change what medium '" + target_ + "' held before");
  }
  if (request.position > std::numeric_limits<std::int64_t>::max() - request.size) {
    return Failure::Of(EFBIG, "a transfer at " + std::to_string(request.position) +
                                  " ends beyond the largest file, medium '" + target_ + "'");
  }
  return Failure::None();
}

Failure DiskDevice::Submit(capstan_request* request) {
  if (request->op != CAPSTAN_OP_READ && request->op != CAPSTAN_OP_WRITE) {
    if (null_) {
      RunControl(request);
    } else {
      queue_->Submit(request);
    }
    return Failure::None();
  }
  if (Failure failure = CheckTransfer(*request); failure.failed()) {
    return failure;
  }
  if (null_) {
    Transfer transfer{.request = request};
    Advance(transfer, request->op == CAPSTAN_OP_READ ? 0 : static_cast<int>(request->size));
  } else {
    queue_->Submit(request);
  }
  return Failure::None();
}

int DiskDevice::DescriptorFor(const Transfer& transfer) const {
  const capstan_request& request = *transfer.request;
  const std::uint32_t left = request.size - transfer.done;
  const std::int64_t position = request.position + transfer.done;
  if (request.op == CAPSTAN_OP_READ && file_.IsCached(left, position)) {
    return file_.fd();
  }
  return file_.DescriptorFor(static_cast<const char*>(request.buffer) + transfer.done, left,
                             position);
}

bool DiskDevice::Advance(Transfer& transfer, int result) {
  capstan_request& request = *transfer.request;
  const bool reading = request.op == CAPSTAN_OP_READ;
  const bool interrupted = result == -EINTR || result == -EAGAIN;
  const bool direct_refused = result == -EINVAL && file_.IsDirect(transfer.fd);
  if (direct_refused) {
    file_.RefuseDirect();
  }
  if (direct_refused || (interrupted && ++retries_ < kRetriesMax)) {
    return false;
  }
  retries_ = 0;
  if (result < 0 || (result == 0 && !reading)) {
    const int os_error = result < 0 ? -result : EIO;
    FinishTransfer(transfer, CompletionCodeOf(os_error, request.op),
                   Failure::Unable(os_error, reading ? "read" : "write", target_));
    return true;
  }
  transfer.done += static_cast<std::uint32_t>(result);
  const bool at_end = reading && CutToReadEnd(transfer);
  if (result > 0 && !at_end && transfer.done < request.size) {
    return false;
  }
  if (Failure failure = reading ? Failure::None() : CheckStillThere(); failure.failed()) {
    FinishTransfer(transfer, CAPSTAN_E_WRITE_FAULT, failure);
  } else if (transfer.done < request.size) {
    FinishTransfer(transfer, CAPSTAN_E_END,
                   Failure::Of(0, "end of data of medium '" + target_ + "'"));
  } else {
    FinishTransfer(transfer, CAPSTAN_E_OK, Failure::None());
  }
  return true;
}

// What an append has put behind the end that the reader knows is in its buffer, but not shown. True
// if the transfer got to that end.
bool DiskDevice::CutToReadEnd(Transfer& transfer) const {
  const std::int64_t position = transfer.request->position;
  const std::int64_t left = read_end_ > position ? read_end_ - position : 0;
  if (transfer.done < left) {
    return false;
  }
  transfer.done = static_cast<std::uint32_t>(left);
  return true;
}

// Writes to a file that somebody removed, or whose mount was taken away, go well until the end. A
// look once a second makes that an error while it is news.
Failure DiskDevice::CheckStillThere() {
  const auto now = std::chrono::steady_clock::now();
  if (!writing_ || now - checked_ < kPresenceInterval) {
    return Failure::None();
  }
  checked_ = now;
  return writing_->CheckPresence();
}

void DiskDevice::FinishTransfer(Transfer& transfer, std::uint32_t code, const Failure& failure) {
  capstan_request& request = *transfer.request;
  request.bytes_transferred = transfer.done;
  cursor_ = request.position + transfer.done;
  if (request.op == CAPSTAN_OP_WRITE) {
    data_end_ = transfer.done > 0 ? std::max(data_end_, cursor_) : data_end_;
    read_end_ = std::max(read_end_, data_end_);
    if (failure.failed() && !write_failure_.failed()) {
      write_failure_ = failure;
    }
  }
  Finish(&request, code, failure);
}

void DiskDevice::Finish(capstan_request* request, std::uint32_t code, const Failure& failure) {
  request->completion_code = code;
  FillError(failure, &request->error);
  request->complete(request);  // last: the request may be gone afterwards
}

void DiskDevice::RunControl(capstan_request* request) {
  Failure failure;
  switch (request->op) {
    case CAPSTAN_OP_CLEAR_ERROR:
      write_failure_ = Failure::None();
      break;
    case CAPSTAN_OP_REWIND:
      cursor_ = 0;
      break;
    case CAPSTAN_OP_GET_POSITION:
      request->out_position = cursor_;
      break;
    case CAPSTAN_OP_SET_POSITION:
      failure = SetPosition(request);
      break;
    case CAPSTAN_OP_FLUSH:
      failure = Flush();
      break;
    case CAPSTAN_OP_COMPLETE:
      failure = Complete();
      break;
    default:
      Finish(request, CAPSTAN_E_UNSUPPORTED,
             Failure::Of(ENOTSUP, "medium '" + target_ + "' on disk has no operation " +
                                      std::to_string(request->op)));
      return;
  }
  Finish(request, failure.failed() ? CompletionCodeOf(failure.os_error, request->op) : CAPSTAN_E_OK,
         failure);
}

Failure DiskDevice::SetPosition(capstan_request* request) {
  enum Whence : std::uint32_t { kBegin = 0, kCurrent = 1, kEnd = 2 };
  std::int64_t base = 0;
  struct stat status {};
  if (request->size == kCurrent) {
    base = cursor_;
  } else if (request->size == kEnd) {
    if (::fstat(file_.fd(), &status) != 0) {
      return Failure::Unable(errno, "find the end of", target_);
    }
    base = std::min<std::int64_t>(status.st_size, read_end_);
  } else if (request->size != kBegin) {
    return Failure::Of(EINVAL, "unknown whence " + std::to_string(request->size));
  }
  std::int64_t position = 0;
  if (__builtin_add_overflow(base, request->position, &position) || position < 0) {
    return Failure::Unable(EINVAL, "set the position of", target_);
  }
  cursor_ = position;
  request->out_position = position;
  return Failure::None();
}

Failure DiskDevice::Flush() {
  if (!writing_) {
    return Failure::None();
  }
  Failure noted = writing_->NoteEnd(data_end_);
  read_end_ = std::max(writing_->read_end(), data_end_);
  if (noted.failed()) {
    return noted;
  }
  if (!flush_failure_.failed() && ::fdatasync(file_.fd()) != 0) {
    flush_failure_ = Failure::Unable(errno, "make durable", target_);
  }
  for (const Failure& earlier : {flush_failure_, write_failure_}) {
    if (earlier.failed()) {
      return earlier;
    }
  }
  return writing_->CheckPresence();
}

Failure DiskDevice::Complete() {
  if (!writing_ || writing_->published()) {
    return Failure::None();
  }
  // To the end of data: gives back what was allocated ahead.
  if (::ftruncate(file_.fd(), data_end_) != 0) {
    return Failure::Unable(errno, "set the end of", target_);
  }
  if (!flush_failure_.failed() && ::fsync(file_.fd()) != 0) {
    flush_failure_ = Failure::Unable(errno, "make durable", target_);
  }
  for (const Failure& earlier : {flush_failure_, write_failure_}) {
    if (earlier.failed()) {
      return earlier;
    }
  }
  return writing_->Publish();
}

Failure DiskDevice::Close(std::uint32_t outcome) {
  if (queue_) {
    queue_->Drain();
    queue_.reset();
  }
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
             : Failure::Of(EINVAL, "medium '" + target_ + "' was closed before it was complete");
}

}  // namespace capstan::disk
