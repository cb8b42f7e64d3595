// MemoryDrive and MemoryChanger: a tape library in memory, with everything that a drive may answer.
// Strict where drives are: what is written ends the medium, a block is read whole or not at all,
// and places are only known to those that can Locate.
//
// Threads: as TapeDrive and MediumChanger; the library itself from any, as a person would use it.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "plugins/tape/cartridge_memory.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::test {

using tape::Answer;
using tape::Outcome;

struct MemoryCartridge {
  std::string barcode;
  std::deque<std::optional<std::vector<std::byte>>> objects;  // nullopt: a filemark
  std::uint64_t capacity = UINT64_MAX;
  bool write_protected = false;
  bool worm = false;
  bool incompatible = false;
  bool tells_room = true;

  std::uint64_t size() const {
    std::uint64_t bytes = 0;
    for (const auto& object : objects) {
      bytes += object ? object->size() : 0;
    }
    return bytes;
  }
};

struct MemoryDriveOptions {
  tape::DriveLimits limits{.block_size_max = 1U << 20U, .locates = true, .early_warning_bytes = 0};
  // Consulted before each command; anything but kDone is its answer. `command`: as in TapeDrive.
  std::function<Outcome(const std::string& command)> fault = [](const std::string&) {
    return Outcome::kDone;
  };
};

// Slots, drives and what is in them. Cartridges live as long as this.
class MemoryLibrary {
 public:
  MemoryLibrary(std::uint32_t drives, std::uint32_t slots) : drives_(drives), slots_(slots) {}

  // Into the first empty slot.
  MemoryCartridge& Add(MemoryCartridge cartridge) {
    const std::lock_guard lock(mutex_);
    all_.push_back(std::make_unique<MemoryCartridge>(std::move(cartridge)));
    for (std::uint32_t i = 0; i < slots_; ++i) {
      if (!places_.contains(kSlots + i)) {
        places_[kSlots + i] = {all_.back().get(), kSlots + i};
        break;
      }
    }
    return *all_.back();
  }
  // By hand, without the changer; null: takes out what is in it.
  void PutIntoDrive(std::uint32_t index, MemoryCartridge* cartridge) {
    const std::lock_guard lock(mutex_);
    for (auto place = places_.begin(); place != places_.end();) {
      place = place->second.cartridge == cartridge ? places_.erase(place) : std::next(place);
    }
    places_.erase(kDrives + index);
    if (cartridge != nullptr) {
      places_[kDrives + index] = {cartridge, 0};
    }
    ++changes_;
  }
  MemoryCartridge* InDrive(std::uint32_t index) {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(kDrives + index);
    return found == places_.end() ? nullptr : found->second.cartridge;
  }
  std::uint64_t changes() {
    const std::lock_guard lock(mutex_);
    return changes_;
  }

  Answer Inventory(std::vector<tape::Element>* elements) {
    const std::lock_guard lock(mutex_);
    for (const auto& [first, count, kind] :
         {std::tuple(kDrives, drives_, tape::ElementKind::kDrive),
          std::tuple(kSlots, slots_, tape::ElementKind::kSlot)}) {
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto found = places_.find(first + i);
        const bool full = found != places_.end();
        elements->push_back({.kind = kind,
                             .address = first + i,
                             .full = full,
                             .barcode = full ? found->second.cartridge->barcode : "",
                             .source_address = full ? found->second.source : 0});
      }
    }
    return {};
  }
  Answer Move(std::uint32_t from, std::uint32_t to) {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(from);
    if (found == places_.end() || places_.contains(to)) {
      return {.outcome = Outcome::kHardwareError,
              .failure = {.os_error = EIO, .message = "nothing there, or something"}};
    }
    if (from < kSlots && loaded_.contains(from - kDrives)) {
      return {.outcome = Outcome::kHardwareError,
              .failure = {.os_error = EIO, .message = "the drive holds it"}};
    }
    places_[to] = {found->second.cartridge, from};
    places_.erase(from);
    ++changes_;
    return {};
  }
  void SetLoaded(std::uint32_t index, bool loaded) {
    const std::lock_guard lock(mutex_);
    if (loaded) {
      loaded_[index] = true;
    } else {
      loaded_.erase(index);
    }
  }

 private:
  static constexpr std::uint32_t kDrives = 100;
  static constexpr std::uint32_t kSlots = 1000;
  struct Place {
    MemoryCartridge* cartridge = nullptr;
    std::uint32_t source = 0;
  };

  const std::uint32_t drives_;
  const std::uint32_t slots_;
  std::mutex mutex_;
  std::map<std::uint32_t, Place> places_;  // all: guarded by mutex_
  std::map<std::uint32_t, bool> loaded_;
  std::vector<std::unique_ptr<MemoryCartridge>> all_;
  std::uint64_t changes_ = 0;
};

class MemoryChanger final : public tape::MediumChanger {
 public:
  explicit MemoryChanger(MemoryLibrary& library) : library_(library) {}
  Answer Inventory(std::vector<tape::Element>* elements) override {
    return library_.Inventory(elements);
  }
  Answer Move(std::uint32_t from, std::uint32_t to) override { return library_.Move(from, to); }

 private:
  MemoryLibrary& library_;
};

class MemoryDrive final : public tape::TapeDrive {
 public:
  MemoryDrive(MemoryLibrary& library, std::uint32_t index, MemoryDriveOptions options = {})
      : library_(library), index_(index), options_(std::move(options)) {
    library_.SetLoaded(index_, library_.InDrive(index_) != nullptr);
    seen_ = library_.changes();
  }
  ~MemoryDrive() override { library_.SetLoaded(index_, false); }

  const tape::DriveLimits& limits() const override { return options_.limits; }

  Answer TestReady() override { return Begin("TestReady"); }
  Answer Inspect(tape::MountedCartridge* cartridge) override {
    if (Answer answer = Begin("Inspect"); !answer.done()) {
      return answer;
    }
    const std::uint64_t size = cartridge_->size();
    *cartridge = {.barcode = cartridge_->barcode,
                  .write_protected = cartridge_->write_protected,
                  .worm = cartridge_->worm,
                  .blank = cartridge_->objects.empty()};
    if (cartridge_->tells_room && cartridge_->capacity != UINT64_MAX) {
      cartridge->capacity_bytes = cartridge_->capacity;
      cartridge->remaining_bytes = cartridge_->capacity - std::min(cartridge_->capacity, size);
    } else if (!cartridge_->tells_room) {
      cartridge->blank = false;
    }
    return {};
  }

  Answer Write(std::span<const std::byte> block) override {
    return Record("Write", std::vector<std::byte>(block.begin(), block.end()), block.size());
  }
  Answer Read(std::span<std::byte> buffer) override {
    if (Answer answer = Begin("Read"); !answer.done()) {
      return answer;
    }
    if (at_ == cartridge_->objects.size()) {
      return {.outcome = Outcome::kEndOfData};
    }
    const auto& object = cartridge_->objects[at_++];
    if (!object) {
      return {.outcome = Outcome::kFilemark};
    }
    if (object->size() > buffer.size()) {
      return {.outcome = Outcome::kBlockTooLong, .bytes = object->size()};
    }
    std::copy(object->begin(), object->end(), buffer.begin());
    return {.bytes = object->size()};
  }
  Answer WriteFilemarks(std::uint32_t count) override {
    Answer answer = Begin("WriteFilemarks");
    for (; answer.done() && count > 0; --count) {
      answer = Record("", std::nullopt, 0);
    }
    return answer;
  }

  Answer Rewind() override {
    Answer answer = Begin("Rewind");
    at_ = answer.done() ? 0 : at_;
    return answer;
  }
  Answer SpaceBlocks(std::int64_t count) override {
    Answer answer = Begin("SpaceBlocks");
    for (; answer.done() && count > 0; --count) {
      if (at_ == cartridge_->objects.size()) {
        return {.outcome = Outcome::kEndOfData};
      }
      answer.outcome = cartridge_->objects[at_++] ? Outcome::kDone : Outcome::kFilemark;
    }
    for (; answer.done() && count < 0; ++count) {
      if (at_ == 0) {
        return {.outcome = Outcome::kBeginning};
      }
      answer.outcome = cartridge_->objects[--at_] ? Outcome::kDone : Outcome::kFilemark;
    }
    return answer;
  }
  Answer SpaceFilemarks(std::int64_t count) override {
    Answer answer = Begin("SpaceFilemarks");
    while (answer.done() && count != 0) {
      answer = SpaceBlocks(count > 0 ? 1 : -1);
      if (answer.outcome == Outcome::kFilemark) {
        count += count > 0 ? -1 : 1;
        answer = {};
      }
    }
    return answer;
  }
  Answer SpaceToEndOfData() override {
    Answer answer = Begin("SpaceToEndOfData");
    at_ = answer.done() ? cartridge_->objects.size() : at_;
    return answer;
  }
  Answer Locate(std::uint64_t object) override {
    Answer answer = Begin("Locate");
    if (!answer.done() || !options_.limits.locates) {
      return answer.done() ? Answer{.outcome = Outcome::kUnsupported} : answer;
    }
    at_ = std::min<std::uint64_t>(object, cartridge_->objects.size());
    return at_ < object ? Answer{.outcome = Outcome::kEndOfData} : Answer();
  }
  Answer Position(std::uint64_t* object) override {
    Answer answer = Begin("Position");
    *object = at_;
    return answer.done() && !options_.limits.locates ? Answer{.outcome = Outcome::kUnsupported}
                                                     : answer;
  }

  Answer Load() override {
    const Answer answer = Begin("Load");
    return answer;
  }
  Answer Unload() override {
    Answer answer = Begin("Unload");
    if (answer.done()) {
      library_.SetLoaded(index_, false);
      cartridge_ = nullptr;
      ejected_ = true;
      seen_ = library_.changes();
    }
    return answer;
  }
  tape::DriveStatus status() const override {
    return {.mode = "memory", .barcode = "", .stops = 7, .medium_time_us = 42};
  }

 private:
  Answer Begin(const std::string& command) {
    if (const Outcome planned = options_.fault(command); planned != Outcome::kDone) {
      return {.outcome = planned};
    }
    // Whatever moves in the library may have moved ours.
    if (const std::uint64_t changes = library_.changes(); changes != seen_ || !cartridge_) {
      const bool new_one = changes != seen_ || !ejected_;
      seen_ = changes;
      MemoryCartridge* const inserted = new_one ? library_.InDrive(index_) : nullptr;
      if (inserted != cartridge_) {
        cartridge_ = inserted;
        at_ = 0;
        ejected_ = false;
        library_.SetLoaded(index_, inserted != nullptr);
        return {.outcome = inserted == nullptr ? Outcome::kNoMedium : Outcome::kMediumChanged};
      }
    }
    if (cartridge_ == nullptr) {
      return {.outcome = Outcome::kNoMedium};
    }
    return {.outcome = cartridge_->incompatible ? Outcome::kIncompatible : Outcome::kDone};
  }
  Answer Record(const std::string& command, std::optional<std::vector<std::byte>> object,
                std::size_t size) {
    Answer answer = command.empty() ? Answer() : Begin(command);
    if (!answer.done()) {
      return answer;
    }
    if (cartridge_->write_protected) {
      return {.outcome = Outcome::kWriteProtected};
    }
    if (cartridge_->worm && at_ < cartridge_->objects.size()) {
      return {.outcome = Outcome::kWorm};
    }
    cartridge_->objects.resize(at_);
    const std::uint64_t used = cartridge_->size() + size;
    if (used > cartridge_->capacity) {
      return {.outcome = Outcome::kNoRoom};
    }
    cartridge_->objects.push_back(std::move(object));
    ++at_;
    const bool warns = cartridge_->capacity != UINT64_MAX &&
                       used + options_.limits.early_warning_bytes > cartridge_->capacity;
    return {.outcome = warns ? Outcome::kEarlyWarning : Outcome::kDone};
  }

  MemoryLibrary& library_;
  const std::uint32_t index_;
  MemoryDriveOptions options_;
  MemoryCartridge* cartridge_ = nullptr;
  std::size_t at_ = 0;
  bool ejected_ = false;
  std::uint64_t seen_ = 0;
};

class MemoryNotes final : public tape::CartridgeMemory {
 public:
  explicit MemoryNotes(bool fails = false) : fails_(fails) {}

  tape::Failure ReadNote(const std::string& barcode, tape::CartridgeNote* note) override {
    const std::lock_guard lock(mutex_);
    *note = notes_[barcode];
    return {};
  }
  tape::Failure WriteNote(const std::string& barcode, const tape::CartridgeNote& note) override {
    const std::lock_guard lock(mutex_);
    if (fails_) {
      return {.os_error = ENOSPC, .message = "no room for notes"};
    }
    notes_[barcode] = note;
    return {};
  }
  bool lasts() const override { return true; }
  bool Describe(const std::string&, tape::ShelvedCartridge*) override { return false; }

 private:
  const bool fails_;
  std::mutex mutex_;
  std::map<std::string, tape::CartridgeNote> notes_;  // guarded by mutex_
};

}  // namespace capstan::test
