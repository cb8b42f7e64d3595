#include "plugins/tape/emulator/emulated_drive.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace capstan::tape {

Failure EmulatedDrive::Open(const LibraryStore& store, std::uint32_t index,
                            const DriveOptions& options, std::unique_ptr<EmulatedDrive>* drive) {
  FileLock lock;
  if (Failure failure = store.LockDrive(index, &lock); failure.failed()) {
    return failure;
  }
  LibraryState state;
  if (Failure failure = store.ReadState(&state); failure.failed()) {
    return failure;
  }
  drive->reset(new EmulatedDrive(store, index, options, std::move(lock)));
  (*drive)->status_.cleaning_needed = state.wear[index].cleaning_needed;
  return {};
}

EmulatedDrive::EmulatedDrive(const LibraryStore& store, std::uint32_t index,
                             const DriveOptions& options, FileLock lock)
    : store_(store),
      index_(index),
      faults_(options.faults),
      generation_(*FindGeneration(store.parameters().generation)),
      lock_(std::move(lock)) {
  const LibraryParameters& parameters = store_.parameters();
  limits_ = {.block_size_max = parameters.block_size_max,
             .locates = true,
             .early_warning_bytes = EarlyWarningBytes(parameters)};
  status_.mode = "emulated " + parameters.generation;
  if (!parameters.time_model.empty()) {
    const MechanicsOptions mechanics{.clock_scale = parameters.clock_scale};
    mechanics_.emplace(*FindGeneration(parameters.time_model), mechanics, options.clock);
  }
}

std::string EmulatedDrive::Name() const {
  return "drive " + std::to_string(index_) + " of library '" + store_.directory() + "'";
}

DriveStatus EmulatedDrive::status() const {
  const std::lock_guard lock(status_mutex_);
  return status_;
}

void EmulatedDrive::ShowMechanics() {
  const std::lock_guard lock(status_mutex_);
  status_.stops = mechanics_->stops();
  status_.medium_time_us = static_cast<std::uint64_t>(mechanics_->busy_s() * 1e6);
}

Answer EmulatedDrive::TestReady() {
  return Begin();
}

Answer EmulatedDrive::Inspect(MountedCartridge* cartridge) {
  if (Answer answer = Begin(); !answer.done()) {
    return answer;
  }
  const CartridgeRecord& record = cartridge_->record();
  const std::uint64_t end = cartridge_->index().end_offset();
  *cartridge = {.barcode = record.barcode,
                .write_protected = cartridge_->write_protected(),
                .worm = record.worm,
                .capacity_bytes = record.capacity_bytes,
                .remaining_bytes = record.capacity_bytes - std::min(record.capacity_bytes, end),
                .blank = cartridge_->index().count() == 0};
  return {};
}

Answer EmulatedDrive::WriteOne(std::span<const std::byte> block) {
  if (faults_ != nullptr && faults_->unwritable_object == position_) {
    return Failed(Outcome::kMediumError, "unable to write block " + std::to_string(position_) +
                                             " of cartridge '" + cartridge_->record().barcode +
                                             "'");
  }
  Answer answer = cartridge_->Write(position_, block);
  if (!answer.done()) {
    return answer;
  }
  ++position_;
  if (mechanics_) {
    mechanics_->Write(static_cast<double>(block.size()), cartridge_->PlaceOf(position_));
    ShowMechanics();
  }
  return answer;
}

Answer EmulatedDrive::Write(std::span<const std::byte> block) {
  if (Answer answer = Begin(); !answer.done()) {
    return answer;
  }
  const std::size_t fixed = store_.parameters().fixed_block_size;
  const std::size_t size = fixed == 0 ? block.size() : fixed;
  if (block.empty() || size > limits_.block_size_max || block.size() % size != 0) {
    return Failed(Outcome::kUnsupported,
                  Name() + " cannot write a block of " + std::to_string(block.size()) + " bytes",
                  fixed == 0 ? "at most " + std::to_string(limits_.block_size_max)
                             : "its blocks have " + std::to_string(fixed) + " bytes",
                  EINVAL);
  }
  Answer last;
  std::uint64_t done = 0;
  for (; done < block.size() && last.done(); done += last.bytes) {
    last = WriteOne(block.subspan(done, size));
  }
  last.bytes = done;
  return last;
}

Answer EmulatedDrive::WriteFilemarks(std::uint32_t count) {
  if (Answer answer = Begin(); !answer.done()) {
    return answer;
  }
  if (count > 0) {
    if (Answer answer = cartridge_->WriteFilemarks(position_, count); !answer.done()) {
      return answer;
    }
    position_ += count;
  }
  if (mechanics_) {
    if (count > 0) {
      mechanics_->Write(0, cartridge_->PlaceOf(position_));
    }
    mechanics_->Flush();
    ShowMechanics();
  }
  return cartridge_->Sync();
}

Answer EmulatedDrive::ReadOne(std::span<std::byte> buffer) {
  const BlockIndex& index = cartridge_->index();
  if (position_ >= index.count()) {
    return {.outcome = Outcome::kEndOfData};
  }
  const std::uint64_t number = position_++;
  const TapeObject object = index.Find(number);
  if (mechanics_) {
    mechanics_->Read(static_cast<double>(object.length), cartridge_->PlaceOf(position_),
                     static_cast<double>(index.end_offset() - object.end()));
    ShowMechanics();
  }
  if (object.kind == ObjectKind::kFilemark) {
    return {.outcome = Outcome::kFilemark};
  }
  if (faults_ != nullptr && faults_->unreadable_object == number) {
    return Failed(Outcome::kMediumError, "block " + std::to_string(number) + " of cartridge '" +
                                             cartridge_->record().barcode + "' is damaged");
  }
  return cartridge_->Read(number, buffer);
}

Answer EmulatedDrive::Read(std::span<std::byte> buffer) {
  if (Answer answer = Begin(); !answer.done()) {
    return answer;
  }
  const std::size_t fixed = store_.parameters().fixed_block_size;
  if (fixed == 0) {
    return ReadOne(buffer);
  }
  if (buffer.size() < fixed) {
    return {.outcome = Outcome::kBlockTooLong, .bytes = fixed};
  }
  Answer last;
  std::uint64_t done = 0;
  while (buffer.size() - done >= fixed) {
    last = ReadOne(buffer.subspan(done, fixed));
    if (!last.done()) {
      break;
    }
    done += last.bytes;
  }
  last.bytes = last.outcome == Outcome::kBlockTooLong ? last.bytes : done;
  return last;
}

Answer EmulatedDrive::MoveTo(std::uint64_t object, Outcome outcome) {
  position_ = object;
  if (mechanics_) {
    if (object == 0) {
      mechanics_->Rewind();
    } else {
      mechanics_->Locate(cartridge_->PlaceOf(object));
    }
    ShowMechanics();
  }
  return {.outcome = outcome};
}

Answer EmulatedDrive::Rewind() {
  Answer answer = Begin();
  return answer.done() ? MoveTo(0) : answer;
}

Answer EmulatedDrive::SpaceBlocks(std::int64_t count) {
  if (Answer answer = Begin(); !answer.done()) {
    return answer;
  }
  const BlockIndex& index = cartridge_->index();
  if (count >= 0) {
    const std::uint64_t end = index.count();
    const std::uint64_t limit = index.FilemarkFrom(position_).value_or(end);
    const auto forward = static_cast<std::uint64_t>(count);
    if (forward <= limit - position_) {
      return MoveTo(position_ + forward);
    }
    return limit == end ? MoveTo(end, Outcome::kEndOfData) : MoveTo(limit + 1, Outcome::kFilemark);
  }
  const std::uint64_t back = 0 - static_cast<std::uint64_t>(count);
  const std::optional<std::uint64_t> mark = index.FilemarkBefore(position_);
  const std::uint64_t limit = mark ? *mark + 1 : 0;
  if (back <= position_ - limit) {
    return MoveTo(position_ - back);
  }
  return mark ? MoveTo(*mark, Outcome::kFilemark) : MoveTo(0, Outcome::kBeginning);
}

Answer EmulatedDrive::SpaceFilemarks(std::int64_t count) {
  if (Answer answer = Begin(); !answer.done()) {
    return answer;
  }
  const BlockIndex& index = cartridge_->index();
  std::uint64_t at = position_;
  for (; count > 0; --count) {
    const std::optional<std::uint64_t> mark = index.FilemarkFrom(at);
    if (!mark) {
      return MoveTo(index.count(), Outcome::kEndOfData);
    }
    at = *mark + 1;
  }
  for (; count < 0; ++count) {
    const std::optional<std::uint64_t> mark = index.FilemarkBefore(at);
    if (!mark) {
      return MoveTo(0, Outcome::kBeginning);
    }
    at = *mark;
  }
  return MoveTo(at);
}

Answer EmulatedDrive::SpaceToEndOfData() {
  Answer answer = Begin();
  return answer.done() ? MoveTo(cartridge_->index().count()) : answer;
}

Answer EmulatedDrive::Locate(std::uint64_t object) {
  if (Answer answer = Begin(); !answer.done()) {
    return answer;
  }
  const std::uint64_t count = cartridge_->index().count();
  return object <= count ? MoveTo(object) : MoveTo(count, Outcome::kEndOfData);
}

Answer EmulatedDrive::Position(std::uint64_t* object) {
  Answer answer = Begin();
  *object = position_;
  return answer;
}

}  // namespace capstan::tape
