// LoadedCartridge: a cartridge while a drive has it loaded: its recording, and what its record says
// may be done with it.
//
// Threads: one.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "plugins/tape/emulator/library_store.h"
#include "plugins/tape/emulator/tape_image.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

// Filled in as an error's answer is.
Answer Failed(Outcome outcome, std::string message, std::string hint = {}, int os_error = EIO);
Answer Failed(Outcome outcome, Failure failure);

enum class Writability {
  kWritable,
  kReadOnly,  // the drive only reads cartridges of its generation
};

class LoadedCartridge {
 public:
  // Counts the load. REQUIRES: the drive says that it has it loaded, so that it is nobody else's.
  static Failure Load(const LibraryStore& store, const std::string& barcode,
                      Writability writability, std::unique_ptr<LoadedCartridge>* cartridge);
  // Tells the record what was written.
  ~LoadedCartridge();
  LoadedCartridge(const LoadedCartridge&) = delete;
  LoadedCartridge& operator=(const LoadedCartridge&) = delete;

  const CartridgeRecord& record() const { return record_; }
  const BlockIndex& index() const { return image_->index(); }
  bool write_protected() const { return record_.write_protected || read_only_; }
  std::uint64_t bytes_written() const { return bytes_written_; }
  // Where in the recording `object` begins, as a fraction of the capacity.
  double PlaceOf(std::uint64_t object) const;

  // At `object`, which ends the tape behind it. kDone, kEarlyWarning, or what forbids it.
  Answer Write(std::uint64_t object, std::span<const std::byte> block);
  Answer WriteFilemarks(std::uint64_t object, std::uint32_t count);
  Answer Sync();
  // REQUIRES: object < index().count(), and not a filemark.
  Answer Read(std::uint64_t object, std::span<std::byte> buffer);

 private:
  LoadedCartridge(const LibraryStore& store, CartridgeRecord record, Writability writability,
                  std::unique_ptr<TapeImage> image)
      : store_(store),
        record_(std::move(record)),
        read_only_(writability == Writability::kReadOnly),
        image_(std::move(image)) {}

  Answer CheckWrite(std::uint64_t object, std::uint64_t stored) const;
  Failure GiveUpBehind(std::uint64_t object);
  Answer Written(Failure failure) const;

  const LibraryStore& store_;  // the drive's
  const CartridgeRecord record_;
  const bool read_only_;
  const std::unique_ptr<TapeImage> image_;
  bool changed_ = false;  // the record is to be told
  bool gave_up_ = false;  // the record knows that durable bytes are no more
  std::uint64_t bytes_written_ = 0;
};

}  // namespace capstan::tape
