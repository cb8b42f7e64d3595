// ScsiDrive: a tape drive that is asked in SCSI itself (SSC), over any transport.
//
// Takes drives as they are: what one does not know (LOCATE, READ ATTRIBUTE, RESERVE) it is not
// asked again. Threads: as TapeDrive.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "plugins/tape/scsi/scsi_device.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

class ScsiDrive final : public TapeDrive {
 public:
  // Reserves the drive for this connection. `name` is what messages call it.
  static Failure Open(const std::string& name, std::unique_ptr<ScsiTransport> transport,
                      std::unique_ptr<TapeDrive>* drive);

  ~ScsiDrive() override;
  ScsiDrive(const ScsiDrive&) = delete;
  ScsiDrive& operator=(const ScsiDrive&) = delete;

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
  ScsiDrive(const std::string& name, std::unique_ptr<ScsiTransport> transport);

  // The drive's own state belongs to the cartridge: what has to be set for each.
  Answer Prepare();
  Answer Finish(ScsiReply reply);  // notes a change of cartridge, adds what the drive complains of
  Answer Move(const CommandBlock& block, std::string_view action);
  ScsiReply AskFor(const CommandBlock& block, std::span<std::uint8_t> bytes,
                   std::string_view action);

  ScsiDevice device_;
  DriveLimits limits_;
  bool reserved_ = false;
  bool prepared_ = false;       // Prepare is done for this cartridge
  bool has_attributes_ = true;  // until the drive says otherwise
  mutable std::mutex mutex_;
  std::string barcode_;  // guarded by mutex_
};

// Whether the drive goes to object numbers; told without leaving the place where the tape is.
bool KnowsLocate(ScsiDevice* device);

// The longest block; `otherwise` if the drive does not tell.
std::uint32_t BlockSizeMaxOf(ScsiDevice* device, std::uint32_t otherwise);

// What the cartridge's own memory says. kUnsupported if the drive does not read it.
Answer ReadMemoryOf(ScsiDevice* device, MountedCartridge* cartridge);

}  // namespace capstan::tape
