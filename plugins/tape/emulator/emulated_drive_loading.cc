// The part of EmulatedDrive that is about what is in it.
#include <cerrno>
#include <utility>

#include "plugins/tape/emulator/emulated_drive.h"

namespace capstan::tape {

Answer EmulatedDrive::FindElement(StoredElement* element) const {
  LibraryState state;
  if (Failure failure = store_.ReadState(&state); failure.failed()) {
    return Failed(Outcome::kHardwareError, std::move(failure));
  }
  const auto found = state.full.find(address());
  if (found == state.full.end()) {
    return Failed(Outcome::kNoMedium, "there is no cartridge in " + Name(), {}, ENOMEDIUM);
  }
  *element = found->second;
  return {};
}

Answer EmulatedDrive::Begin() {
  if (faults_ != nullptr && faults_->broken) {
    return Failed(Outcome::kHardwareError, Name() + " is broken");
  }
  if (cartridge_ == nullptr) {
    StoredElement element;
    if (Answer answer = FindElement(&element); !answer.done()) {
      rejected_.reset();
      return answer;
    }
    if (rejected_) {
      return *rejected_;
    }
    if (element.threading == Threading::kEjected) {
      return Failed(Outcome::kNoMedium,
                    "cartridge '" + element.barcode + "' is unloaded in " + Name(), {}, ENOMEDIUM);
    }
    if (Answer answer = LoadElement(element); !answer.done()) {
      return answer;
    }
  }
  if (std::exchange(attention_, false)) {
    return Failed(Outcome::kMediumChanged, "the cartridge in " + Name() + " was changed", {}, 0);
  }
  return {};
}

Answer EmulatedDrive::Load() {
  if (faults_ != nullptr && faults_->broken) {
    return Failed(Outcome::kHardwareError, Name() + " is broken");
  }
  if (cartridge_ != nullptr) {
    return {};
  }
  rejected_.reset();
  StoredElement element;
  Answer answer = FindElement(&element);
  return answer.done() ? LoadElement(element) : answer;
}

// It stays rejected until it is taken out or loaded again.
Answer EmulatedDrive::Reject(Answer answer) {
  rejected_ = answer;
  return answer;
}

Answer EmulatedDrive::LoadElement(const StoredElement& element) {
  if (mechanics_) {
    mechanics_->Load();
    ShowMechanics();
  }
  if (faults_ != nullptr && faults_->load_fails) {
    return Reject(Failed(Outcome::kMediumError,
                         "unable to load cartridge '" + element.barcode + "' in " + Name()));
  }
  CartridgeRecord record;
  if (Failure failure = store_.ReadCartridge(element.barcode, &record); failure.failed()) {
    return Reject(Failed(Outcome::kMediumError, std::move(failure)));
  }
  if (record.kind == CartridgeKind::kCleaning) {
    return Clean(record.barcode);
  }
  const Generation& generation = *FindGeneration(record.generation);
  if (!CanRead(generation_, generation)) {
    return Reject(Failed(Outcome::kIncompatible,
                         "cartridge '" + record.barcode + "' is " + record.generation + ", which " +
                             Name() + " cannot read: it is " + std::string(generation_.name),
                         "use a cartridge or a drive of another generation", EMEDIUMTYPE));
  }
  return LoadData(record.barcode, CanWrite(generation_, generation) ? Writability::kWritable
                                                                    : Writability::kReadOnly);
}

Answer EmulatedDrive::LoadData(const std::string& barcode, Writability writability) {
  // First of all: what is loaded is nobody else's.
  Failure failure = SetThreading(barcode, Threading::kLoaded);
  if (failure.failed()) {
    return Failed(Outcome::kNotReady, std::move(failure));
  }
  failure = LoadedCartridge::Load(store_, barcode, writability, &cartridge_);
  if (failure.failed()) {
    (void)SetThreading(barcode, Threading::kInserted);
    return Reject(Failed(Outcome::kMediumError, std::move(failure)));
  }
  attention_ = true;
  position_ = 0;
  const std::lock_guard lock(status_mutex_);
  status_.barcode = barcode;
  return {};
}

Answer EmulatedDrive::Clean(const std::string& barcode) {
  std::uint32_t left = 0;
  bool used_up = false;
  Failure failure = store_.ChangeCartridge(barcode, [&](CartridgeRecord& stored) {
    used_up = stored.cleanings_left == 0;
    stored.cleanings_left -= used_up ? 0 : 1;
    left = stored.cleanings_left;
    ++stored.load_count;
    return Failure();
  });
  if (!failure.failed()) {
    failure = store_.ChangeState([&](LibraryState& state) {
      const auto element = state.full.find(address());
      if (element != state.full.end() && element->second.barcode == barcode) {
        element->second.threading = Threading::kEjected;
      }
      if (!used_up) {
        state.wear[index_] = {};
      }
      return Failure();
    });
  }
  if (failure.failed()) {
    return Failed(Outcome::kMediumError, std::move(failure));
  }
  if (used_up) {
    return Failed(Outcome::kIncompatible, "cleaning cartridge '" + barcode + "' is used up",
                  "use another one", EMEDIUMTYPE);
  }
  {
    const std::lock_guard lock(status_mutex_);
    status_.cleaning_needed = false;
  }
  return Failed(Outcome::kIncompatible,
                "'" + barcode + "' is a cleaning cartridge: " + Name() +
                    " is clean now, and the cartridge is good for " + std::to_string(left) +
                    " more",
                "load a cartridge for data", EMEDIUMTYPE);
}

Failure EmulatedDrive::SetThreading(const std::string& barcode, Threading threading,
                                    std::uint64_t bytes_written) {
  const LibraryParameters& parameters = store_.parameters();
  bool cleaning_needed = false;
  Failure failure = store_.ChangeState([&](LibraryState& state) {
    const auto element = state.full.find(address());
    if (element == state.full.end() || element->second.barcode != barcode) {
      return Failure{.os_error = ENOMEDIUM,
                     .message = "cartridge '" + barcode + "' was taken out of " + Name()};
    }
    DriveWear& wear = state.wear[index_];
    if (threading == Threading::kLoaded && element->second.threading != Threading::kLoaded) {
      ++wear.loads_since_cleaning;
    }
    wear.bytes_since_cleaning += bytes_written;
    element->second.threading = threading;
    const auto due = [](std::uint64_t done, std::uint64_t after) {
      return after > 0 && done >= after;
    };
    wear.cleaning_needed = wear.cleaning_needed ||
                           due(wear.bytes_since_cleaning, parameters.cleaning_after_bytes) ||
                           due(wear.loads_since_cleaning, parameters.cleaning_after_loads);
    cleaning_needed = wear.cleaning_needed;
    return Failure();
  });
  if (!failure.failed()) {
    const std::lock_guard lock(status_mutex_);
    status_.cleaning_needed = cleaning_needed;
  }
  return failure;
}

Answer EmulatedDrive::Unload() {
  if (faults_ != nullptr && faults_->broken) {
    return Failed(Outcome::kHardwareError, Name() + " is broken");
  }
  StoredElement element;
  if (Answer answer = FindElement(&element); !answer.done()) {
    return answer;
  }
  std::uint64_t bytes_written = 0;
  if (cartridge_ != nullptr) {
    if (Answer answer = cartridge_->Sync(); !answer.done()) {
      return answer;
    }
    if (mechanics_) {
      mechanics_->Unload();
      ShowMechanics();
    }
    bytes_written = cartridge_->bytes_written();
    // Its record is up to date before somebody else can take it.
    cartridge_.reset();
  }
  if (Failure failure = SetThreading(element.barcode, Threading::kEjected, bytes_written);
      failure.failed()) {
    return Failed(Outcome::kHardwareError, std::move(failure));
  }
  rejected_.reset();
  attention_ = false;
  const std::lock_guard lock(status_mutex_);
  status_.barcode.clear();
  return {};
}

}  // namespace capstan::tape
