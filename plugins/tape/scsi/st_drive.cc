#include "plugins/tape/scsi/st_drive.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>

#include "plugins/tape/scsi/scsi_drive.h"
#include "plugins/tape/scsi/sg_transport.h"

namespace capstan::tape {
namespace {

// As far as the driver finds memory on every machine, however large the drive's own blocks are.
constexpr std::uint32_t kBlockSizeMax = 1U << 20;
constexpr std::uint32_t kBlockSizeUnknown = 256U << 10;
constexpr std::uint64_t kEarlyWarningBytes = 2ULL << 20;
// SPACE and WRITE FILEMARKS of the driver have 24 bits.
constexpr std::int64_t kCountMax = 0x7F'FFFF;

// Adds the time of a system call that moves the tape.
class Stopwatch {
 public:
  explicit Stopwatch(std::atomic<std::uint64_t>* sum_us) : sum_us_(sum_us) {}
  ~Stopwatch() {
    const auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::steady_clock::now() - begin_);
    sum_us_->fetch_add(static_cast<std::uint64_t>(elapsed.count()), std::memory_order_relaxed);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  std::atomic<std::uint64_t>* const sum_us_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

bool Has(const mtget& state, long flag) {
  return (state.mt_gstat & flag) != 0;
}

}  // namespace

StDrive::StDrive(std::string path, std::unique_ptr<DeviceCalls> calls)
    : path_(std::move(path)), calls_(std::move(calls)) {}

Failure StDrive::Open(const std::string& path, std::unique_ptr<DeviceCalls> calls,
                      std::unique_ptr<TapeDrive>* drive) {
  std::unique_ptr<StDrive> opened(new StDrive(path, std::move(calls)));
  const Answer answer = opened->OpenNode();
  if (!answer.done()) {
    return answer.failure;
  }
  opened->AskLimits();
  *drive = std::move(opened);
  return {};
}

StDrive::~StDrive() {
  CloseNode();
}

Answer StDrive::OpenNode() {
  // Without O_NONBLOCK there would have to be a cartridge.
  int opened = calls_->Open(path_, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (opened == -EROFS) {
    opened = calls_->Open(path_, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  }
  if (opened < 0) {
    const Outcome outcome = opened == -EBUSY ? Outcome::kBusy : Outcome::kTransportError;
    Failure failure = FailureOf(outcome, fmt::format("unable to open drive '{}'", path_));
    failure.os_error = -opened;
    if (opened == -EACCES) {
      failure.hint = "let the agent's user into the group that may use the device";
    }
    return {.outcome = outcome, .failure = std::move(failure)};
  }
  descriptor_ = opened;
  direct_ =
      std::make_unique<ScsiDevice>(path_, std::make_unique<SgTransport>(calls_.get(), descriptor_));
  prepared_ = false;
  near_end_ = false;
  // Not buffered in the kernel, where a block that does not fit any more would be lost; positions
  // as every drive counts them. Only root may; others have the driver's defaults.
  (void)Operate(MTSETDRVBUFFER, MT_ST_CLEARBOOLEANS | MT_ST_ASYNC_WRITES | MT_ST_BUFFER_WRITES);
  (void)Operate(MTSETDRVBUFFER, MT_ST_SETBOOLEANS | MT_ST_SCSI2LOGICAL);
  return {};
}

void StDrive::CloseNode() {
  direct_.reset();
  if (descriptor_ >= 0) {
    calls_->Close(descriptor_);
    descriptor_ = -1;
  }
}

void StDrive::AskLimits() {
  limits_.block_size_max =
      std::min(BlockSizeMaxOf(direct_.get(), kBlockSizeUnknown), kBlockSizeMax);
  limits_.locates = KnowsLocate(direct_.get());
  limits_.early_warning_bytes = kEarlyWarningBytes;
}

mtget StDrive::State() {
  mtget state{};
  state.mt_fileno = -1;
  state.mt_blkno = -1;
  (void)calls_->Control(descriptor_, MTIOCGET, &state);
  return state;
}

int StDrive::Operate(short operation, std::int64_t count) {
  const Stopwatch stopwatch(&busy_us_);
  mtop wanted{.mt_op = operation, .mt_count = static_cast<int>(count)};
  return calls_->Control(descriptor_, MTIOCTOP, &wanted);
}

Answer StDrive::TestReady() {
  if (descriptor_ >= 0 && Has(State(), GMT_ONLINE(~0L))) {
    return prepared_ ? Answer{} : Prepare();
  }
  // The driver looks for a cartridge when it is opened, and only then.
  CloseNode();
  const Answer answer = OpenNode();
  if (!answer.done()) {
    return answer;
  }
  const mtget state = State();
  if (Has(state, GMT_ONLINE(~0L))) {
    return Prepare();
  }
  const Outcome outcome = Has(state, GMT_DR_OPEN(~0L)) ? Outcome::kNoMedium : Outcome::kNotReady;
  return {.outcome = outcome,
          .failure = FailureOf(
              outcome,
              fmt::format("drive '{}' {}", path_,
                          outcome == Outcome::kNoMedium ? "has no cartridge" : "is not ready"))};
}

Answer StDrive::Prepare() {
  const int error = Operate(MTSETBLK, 0);
  if (error != 0) {
    return AnswerOf(error, "set blocks of variable size on");
  }
  AskLimits();
  prepared_ = true;
  return {};
}

Answer StDrive::AnswerOf(int error, const char* action) {
  Outcome outcome = Outcome::kHardwareError;
  switch (descriptor_ < 0 ? ESTALE : -error) {
    case ESTALE:
      outcome = Outcome::kNotReady;  // TestReady opens it again
      break;
    case ENOSPC:
      outcome = Outcome::kNoRoom;
      break;
    case ENOMEDIUM:
      outcome = Outcome::kNoMedium;
      break;
    case EACCES:
    case EROFS:
    case EBADF:  // opened for reading only
      outcome = Outcome::kWriteProtected;
      break;
    case EBUSY:
      outcome = Outcome::kBusy;
      break;
    case ENXIO:
    case ENODEV:
      outcome = Outcome::kTransportError;
      break;
    case EINVAL:
    case EOVERFLOW:
    case ENOSYS:
      outcome = Outcome::kUnsupported;
      break;
    case EIO: {
      outcome = Outcome::kMediumError;
      const Answer ready = direct_->Do(TestUnitReadyCommand(), kQuickTimeout, "ask");
      if (ready.outcome == Outcome::kNoMedium || ready.outcome == Outcome::kNotReady ||
          ready.outcome == Outcome::kMediumChanged) {
        CloseNode();  // so that the driver looks again
        return ready;
      }
      break;
    }
    default:
      break;
  }
  Failure failure = FailureOf(outcome, fmt::format("unable to {} '{}'", action, path_));
  failure.os_error = -error;
  return {.outcome = outcome, .failure = std::move(failure)};
}

Answer StDrive::Inspect(MountedCartridge* cartridge) {
  *cartridge = {};
  const mtget state = State();
  if (!Has(state, GMT_ONLINE(~0L))) {
    return AnswerOf(-ENOMEDIUM, "inspect the cartridge in");
  }
  cartridge->write_protected = Has(state, GMT_WR_PROT(~0L));
  // Of what is behind the driver, as much as the process may know.
  (void)ReadMemoryOf(direct_.get(), cartridge);
  const std::lock_guard lock(mutex_);
  barcode_ = cartridge->barcode;
  return {};
}

Answer StDrive::Write(std::span<const std::byte> block) {
  if (block.empty() || block.size() > limits_.block_size_max) {
    return AnswerOf(-EINVAL, "write a block of that size to");
  }
  long written = 0;
  {
    const Stopwatch stopwatch(&busy_us_);
    written = calls_->Write(descriptor_, block);
    if (written == -ENOSPC) {
      // Near the end, the driver refuses every second write without trying it, to be heard.
      written = calls_->Write(descriptor_, block);
    }
  }
  if (written < 0) {
    return AnswerOf(static_cast<int>(written), "write to");
  }
  if (static_cast<std::size_t>(written) != block.size()) {
    return AnswerOf(-EIO, "write a whole block to");
  }
  near_end_ = near_end_ || Has(State(), GMT_EOT(~0L));
  return {.outcome = near_end_ ? Outcome::kEarlyWarning : Outcome::kDone};
}

Answer StDrive::Read(std::span<std::byte> buffer) {
  const auto wanted = buffer.first(std::min<std::size_t>(buffer.size(), limits_.block_size_max));
  long size = 0;
  {
    const Stopwatch stopwatch(&busy_us_);
    size = calls_->Read(descriptor_, wanted);
  }
  if (size == -ENOMEM) {
    return MeasureSkippedBlock(wanted.size());
  }
  if (size < 0) {
    return AnswerOfReadError(static_cast<int>(size));
  }
  // Behind the last filemark the driver also hands out what a drive sends along with "end of data"
  // without saying that it is nothing.
  if (Has(State(), GMT_EOD(~0L))) {
    return {.outcome = Outcome::kEndOfData};
  }
  if (size == 0) {
    return {.outcome = Outcome::kFilemark};
  }
  return {.bytes = static_cast<std::uint64_t>(size)};
}

// The driver says EIO for damage, and for the end of data if no filemark is in front of that.
// Spacing over one block more tells them apart.
Answer StDrive::AnswerOfReadError(int error) {
  if (error == -EIO) {
    if (!Has(State(), GMT_EOD(~0L)) && Operate(MTFSR, 1) == 0) {
      (void)Operate(MTBSR, 1);
      return AnswerOf(error, "read from");
    }
    if (Has(State(), GMT_EOD(~0L))) {
      return {.outcome = Outcome::kEndOfData};
    }
  }
  return AnswerOf(error, "read from");
}

// The driver does not say how long the block was that it has skipped: it is read once more.
Answer StDrive::MeasureSkippedBlock(std::size_t wanted) {
  spare_.resize(limits_.block_size_max);
  const int error = Operate(MTBSR, 1);
  const long size = error != 0 ? error : calls_->Read(descriptor_, spare_);
  if (size <= 0) {
    return AnswerOf(size == 0 ? -EIO : static_cast<int>(size), "measure a block of");
  }
  return {.outcome = static_cast<std::size_t>(size) > wanted ? Outcome::kBlockTooLong
                                                             : Outcome::kMediumError,
          .bytes = static_cast<std::uint64_t>(size)};
}

Answer StDrive::WriteFilemarks(std::uint32_t count) {
  const int error = Operate(MTWEOF, std::min<std::int64_t>(count, kCountMax));
  if (error != 0) {
    return AnswerOf(error, "write a filemark to");
  }
  return {.outcome = near_end_ ? Outcome::kEarlyWarning : Outcome::kDone};
}

Answer StDrive::Rewind() {
  const int error = Operate(MTREW, 1);
  near_end_ = false;
  return error == 0 ? Answer{} : AnswerOf(error, "rewind");
}

Answer StDrive::Space(short operation, std::uint64_t count) {
  near_end_ = false;
  const bool backward = operation == MTBSR || operation == MTBSF;
  while (count > 0) {
    const auto step = static_cast<std::int64_t>(std::min<std::uint64_t>(count, kCountMax));
    const mtget before = State();
    const int error = Operate(operation, step);
    if (error != 0) {
      const mtget after = State();
      if (error != -EIO) {
        return AnswerOf(error, "space on");
      }
      if (Has(after, GMT_EOD(~0L))) {
        return {.outcome = Outcome::kEndOfData};
      }
      if (operation == MTFSR || operation == MTBSR) {
        if (after.mt_fileno != before.mt_fileno || (!backward && Has(after, GMT_EOF(~0L)))) {
          return {.outcome = Outcome::kFilemark};
        }
      }
      const bool too_far = operation == MTBSF && before.mt_fileno >= 0 && step > before.mt_fileno;
      if (too_far || (backward && Has(after, GMT_BOT(~0L)))) {
        return {.outcome = Outcome::kBeginning};
      }
      return AnswerOf(error, "space on");
    }
    count -= static_cast<std::uint64_t>(step);
  }
  return {};
}

Answer StDrive::SpaceBlocks(std::int64_t count) {
  return count < 0 ? Space(MTBSR, -static_cast<std::uint64_t>(count))
                   : Space(MTFSR, static_cast<std::uint64_t>(count));
}

Answer StDrive::SpaceFilemarks(std::int64_t count) {
  return count < 0 ? Space(MTBSF, -static_cast<std::uint64_t>(count))
                   : Space(MTFSF, static_cast<std::uint64_t>(count));
}

Answer StDrive::SpaceToEndOfData() {
  near_end_ = false;
  const int error = Operate(MTEOM, 1);
  if (error != 0 && !Has(State(), GMT_EOD(~0L))) {
    return AnswerOf(error, "space on");
  }
  return {};
}

Answer StDrive::Locate(std::uint64_t object) {
  near_end_ = false;
  if (!limits_.locates || object > INT_MAX) {
    return AnswerOf(-ENOSYS, "locate on");
  }
  const int error = Operate(MTSEEK, static_cast<std::int64_t>(object));
  return error == 0 ? Answer{} : AnswerOf(error, "locate on");
}

Answer StDrive::Position(std::uint64_t* object) {
  mtpos position{};
  const int error = limits_.locates ? calls_->Control(descriptor_, MTIOCPOS, &position) : -ENOSYS;
  if (error != 0) {
    return AnswerOf(error, "find the place of");
  }
  *object = static_cast<std::uint64_t>(position.mt_blkno);
  return {};
}

Answer StDrive::Load() {
  if (descriptor_ < 0) {
    const Answer answer = OpenNode();
    if (!answer.done()) {
      return answer;
    }
  }
  prepared_ = false;
  const int error = Operate(MTLOAD, 1);
  return error == 0 ? Answer{} : AnswerOf(error, "load");
}

Answer StDrive::Unload() {
  prepared_ = false;
  near_end_ = false;
  {
    const std::lock_guard lock(mutex_);
    barcode_.clear();
  }
  const int error = Operate(MTOFFL, 1);
  return error == 0 ? Answer{} : AnswerOf(error, "unload");
}

DriveStatus StDrive::status() const {
  const std::lock_guard lock(mutex_);
  return {.mode = "Linux st",
          .barcode = barcode_,
          .medium_time_us = busy_us_.load(std::memory_order_relaxed)};
}

}  // namespace capstan::tape
