// EmulatedDrive: one drive of an emulated library. It has the drive to itself, among all processes,
// until it is destroyed; what is in it stays where it is, also when the process dies.
//
// A cartridge that a changer has put in is loaded by Load or by the next command. When a drive is
// opened with a loaded cartridge, it stands at the beginning and tells kMediumChanged once, as
// after a reset.
//
// Threads: one at a time; status() from any.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "plugins/tape/emulator/generation.h"
#include "plugins/tape/emulator/library_store.h"
#include "plugins/tape/emulator/loaded_cartridge.h"
#include "plugins/tape/emulator/tape_mechanics.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

// What goes wrong, for tests. Borrowed by drives, and changed only between their calls.
struct DriveFaults {
  std::optional<std::uint64_t> unreadable_object;
  std::optional<std::uint64_t> unwritable_object;
  bool load_fails = false;
  bool broken = false;  // every command ends with kHardwareError
};

struct DriveOptions {
  const DriveFaults* faults = nullptr;
  HostClock* clock = HostClock::Steady();
};

class EmulatedDrive final : public TapeDrive {
 public:
  static Failure Open(const LibraryStore& store, std::uint32_t index, const DriveOptions& options,
                      std::unique_ptr<EmulatedDrive>* drive);

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
  // Also of what cannot be loaded: it can be taken out then.
  Answer Unload() override;
  DriveStatus status() const override;

 private:
  EmulatedDrive(const LibraryStore& store, std::uint32_t index, const DriveOptions& options,
                FileLock lock);

  // What every command begins with: a cartridge that is loaded and known to the caller.
  Answer Begin();
  // What is in the drive; nothing with kNoMedium.
  Answer FindElement(StoredElement* element) const;
  Answer LoadElement(const StoredElement& element);
  Answer LoadData(const std::string& barcode, Writability writability);
  Answer Clean(const std::string& barcode);
  Answer Reject(Answer answer);
  // Stores how far the cartridge is in, and how worn the drive is.
  Failure SetThreading(const std::string& barcode, Threading threading,
                       std::uint64_t bytes_written = 0);

  Answer WriteOne(std::span<const std::byte> block);
  Answer ReadOne(std::span<std::byte> buffer);
  Answer MoveTo(std::uint64_t object, Outcome outcome = Outcome::kDone);
  void ShowMechanics();
  std::string Name() const;
  std::uint32_t address() const { return kFirstDriveAddress + index_; }

  const LibraryStore store_;
  const std::uint32_t index_;
  const DriveFaults* const faults_;  // or null
  const Generation& generation_;
  const FileLock lock_;
  DriveLimits limits_;

  std::optional<TapeMechanics> mechanics_;  // with a time model
  std::unique_ptr<LoadedCartridge> cartridge_;
  std::optional<Answer> rejected_;  // what is in the drive cannot be loaded, and why
  bool attention_ = false;          // kMediumChanged is to be told
  std::uint64_t position_ = 0;

  mutable std::mutex status_mutex_;
  DriveStatus status_;  // guarded by status_mutex_
};

}  // namespace capstan::tape
