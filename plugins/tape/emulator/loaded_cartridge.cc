#include "plugins/tape/emulator/loaded_cartridge.h"

#include <algorithm>
#include <utility>

#include "plugins/tape/emulator/image_scan.h"

namespace capstan::tape {

Answer Failed(Outcome outcome, std::string message, std::string hint, int os_error) {
  return {
      .outcome = outcome,
      .failure = {.os_error = os_error, .message = std::move(message), .hint = std::move(hint)}};
}

Answer Failed(Outcome outcome, Failure failure) {
  return {.outcome = outcome, .failure = std::move(failure)};
}

Failure LoadedCartridge::Load(const LibraryStore& store, const std::string& barcode,
                              Writability writability,
                              std::unique_ptr<LoadedCartridge>* cartridge) {
  CartridgeRecord record;
  Failure failure = store.ChangeCartridge(barcode, [&](CartridgeRecord& stored) {
    ++stored.load_count;
    record = stored;
    return Failure();
  });
  if (failure.failed()) {
    return failure;
  }
  const bool writes = !record.write_protected && writability == Writability::kWritable;
  std::unique_ptr<TapeImage> image;
  failure =
      TapeImage::Open(store.ImagePath(barcode), writes ? ImageAccess::kWrite : ImageAccess::kRead,
                      record.recorded_bytes, &image);
  if (!failure.failed()) {
    cartridge->reset(new LoadedCartridge(store, std::move(record), writability, std::move(image)));
  }
  return failure;
}

LoadedCartridge::~LoadedCartridge() {
  if (!changed_) {
    return;
  }
  const bool durable = !image_->Sync().failed();
  const std::uint64_t end = index().end_offset();
  // If it fails, statistics are lost, and the knowledge that an end that is missing was there.
  (void)store_.ChangeCartridge(record_.barcode, [&](CartridgeRecord& stored) {
    stored.bytes_written += bytes_written_;
    stored.recorded_bytes = durable ? end : std::min(stored.recorded_bytes, end);
    return Failure();
  });
}

double LoadedCartridge::PlaceOf(std::uint64_t object) const {
  const std::uint64_t offset =
      object < index().count() ? index().Find(object).offset : index().end_offset();
  return static_cast<double>(offset) /
         static_cast<double>(std::max<std::uint64_t>(record_.capacity_bytes, 1));
}

Answer LoadedCartridge::CheckWrite(std::uint64_t object, std::uint64_t stored) const {
  const std::string name = "cartridge '" + record_.barcode + "'";
  if (record_.write_protected) {
    return Failed(Outcome::kWriteProtected, name + " is protected",
                  "remove its write protection, or load another cartridge", EROFS);
  }
  if (read_only_) {
    return Failed(Outcome::kWriteProtected,
                  name + " is " + record_.generation + ", which the drive only reads",
                  "load a cartridge of a newer generation", EROFS);
  }
  if (record_.worm && object < index().count()) {
    return Failed(Outcome::kWorm, name + " is write-once and recorded here",
                  "append to it, or load another cartridge", EROFS);
  }
  const LibraryParameters& parameters = store_.parameters();
  const std::uint64_t offset =
      object < index().count() ? index().Find(object).offset : index().end_offset();
  // Room for what the early warning promises, behind the block that brought it about.
  const std::uint64_t end_of_tape = record_.capacity_bytes + EarlyWarningBytes(parameters) +
                                    StoredSize(parameters.block_size_max);
  if (offset + stored > end_of_tape) {
    return Failed(Outcome::kNoRoom, name + " is full", "load another cartridge", ENOSPC);
  }
  return {};
}

// The record is told before durable bytes are given up, so that nobody misses them.
Failure LoadedCartridge::GiveUpBehind(std::uint64_t object) {
  changed_ = true;
  if (gave_up_ || object >= index().count()) {
    return {};
  }
  const std::uint64_t end = index().Find(object).offset;
  Failure failure = store_.ChangeCartridge(record_.barcode, [&](CartridgeRecord& stored) {
    stored.recorded_bytes = std::min(stored.recorded_bytes, end);
    return Failure();
  });
  gave_up_ = !failure.failed();
  return failure;
}

Answer LoadedCartridge::Written(Failure failure) const {
  if (failure.failed()) {
    return Failed(Outcome::kMediumError, std::move(failure));
  }
  const bool near_end = index().end_offset() > record_.capacity_bytes;
  return {.outcome = near_end ? Outcome::kEarlyWarning : Outcome::kDone};
}

Answer LoadedCartridge::Write(std::uint64_t object, std::span<const std::byte> block) {
  if (Answer answer = CheckWrite(object, StoredSize(block.size())); !answer.done()) {
    return answer;
  }
  Failure failure = GiveUpBehind(object);
  if (!failure.failed()) {
    failure = image_->WriteBlock(object, block);
  }
  bytes_written_ += failure.failed() ? 0 : block.size();
  Answer answer = Written(std::move(failure));
  answer.bytes = answer.done() ? block.size() : 0;
  return answer;
}

Answer LoadedCartridge::WriteFilemarks(std::uint64_t object, std::uint32_t count) {
  if (Answer answer = CheckWrite(object, count * kFilemarkSize); !answer.done()) {
    return answer;
  }
  Failure failure = GiveUpBehind(object);
  return Written(failure.failed() ? std::move(failure) : image_->WriteFilemarks(object, count));
}

Answer LoadedCartridge::Sync() {
  return Written(image_->Sync());
}

Answer LoadedCartridge::Read(std::uint64_t object, std::span<std::byte> buffer) {
  const TapeObject found = index().Find(object);
  const std::string name =
      "block " + std::to_string(object) + " of cartridge '" + record_.barcode + "'";
  if (found.kind == ObjectKind::kDamaged) {
    return Failed(Outcome::kMediumError, name + " is damaged");
  }
  if (found.length > buffer.size()) {
    return {.outcome = Outcome::kBlockTooLong, .bytes = found.length};
  }
  if (Failure failure = image_->ReadBlock(object, buffer); failure.failed()) {
    failure.message = "unable to read " + name + ": " + failure.message;
    return Failed(Outcome::kMediumError, std::move(failure));
  }
  return {.bytes = found.length};
}

}  // namespace capstan::tape
