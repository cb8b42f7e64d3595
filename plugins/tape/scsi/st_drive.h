// StDrive: a tape drive behind the Linux st driver, /dev/nst0 and the like.
//
// The driver keeps a state of its own and turns most of what the drive says into errno values; what
// a caller of TapeDrive has to know is found out here from both. Where the process may
// (CAP_SYS_RAWIO), the drive is asked directly too, for what the driver does not pass on.
//
// A drive that is given back, rewound or unloaded behind a block gets a filemark there: the driver
// ends what was written.
// Threads: as TapeDrive.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <sys/mtio.h>

#include "plugins/tape/scsi/device_calls.h"
#include "plugins/tape/scsi/scsi_device.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

class StDrive final : public TapeDrive {
 public:
  // `path` must not rewind on close. The driver lets in one at a time.
  static Failure Open(const std::string& path, std::unique_ptr<DeviceCalls> calls,
                      std::unique_ptr<TapeDrive>* drive);

  ~StDrive() override;
  StDrive(const StDrive&) = delete;
  StDrive& operator=(const StDrive&) = delete;

  const DriveLimits& limits() const override { return limits_; }
  Answer TestReady() override;
  Answer Inspect(MountedCartridge* cartridge) override;
  Answer Write(std::span<const std::byte> block) override;
  Answer Read(std::span<std::byte> buffer) override;
  Answer WriteFilemarks(std::uint32_t count) override;
  Answer Rewind() override;
  Answer SpaceBlocks(std::int64_t count) override;
  Answer SpaceFilemarks(std::int64_t count) override;
  Answer SpaceToEndOfData() override;
  Answer Locate(std::uint64_t object) override;
  Answer Position(std::uint64_t* object) override;
  Answer Load() override;
  Answer Unload() override;
  DriveStatus status() const override;

 private:
  StDrive(std::string path, std::unique_ptr<DeviceCalls> calls);

  Answer OpenNode();
  void CloseNode();
  Answer Prepare();  // what the driver forgets with each cartridge
  void AskLimits();

  mtget State();
  int Operate(short operation, std::int64_t count);  // 0 or -errno
  Answer Space(short operation, std::uint64_t count);
  // What -errno means; EIO is all that the driver says of most things.
  Answer AnswerOf(int error, const char* action);
  Answer AnswerOfReadError(int error);
  Answer MeasureSkippedBlock(std::size_t wanted);

  const std::string path_;
  const std::unique_ptr<DeviceCalls> calls_;
  int descriptor_ = -1;
  std::unique_ptr<ScsiDevice> direct_;  // through descriptor_; null while that is closed
  DriveLimits limits_;
  bool prepared_ = false;
  bool near_end_ = false;         // the early warning was met, and nothing has moved back since
  std::vector<std::byte> spare_;  // for blocks longer than the reader's buffer
  std::atomic<std::uint64_t> busy_us_{0};
  mutable std::mutex mutex_;
  std::string barcode_;  // guarded by mutex_
};

}  // namespace capstan::tape
