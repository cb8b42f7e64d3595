#include "plugins/tape/emulator/emulated_changer.h"

#include <cerrno>
#include <utility>

namespace capstan::tape {
namespace {

Answer AnswerOf(Failure failure) {
  if (!failure.failed()) {
    return {};
  }
  const Outcome outcome = failure.os_error == EBUSY       ? Outcome::kBusy
                          : failure.os_error == ENOMEDIUM ? Outcome::kNoMedium
                                                          : Outcome::kHardwareError;
  return {.outcome = outcome, .failure = std::move(failure)};
}

}  // namespace

Answer EmulatedChanger::Inventory(std::vector<Element>* elements) {
  LibraryState state;
  if (Failure failure = store_.ReadState(&state); failure.failed()) {
    return AnswerOf(std::move(failure));
  }
  elements->clear();
  const auto add = [&](ElementKind kind, std::uint32_t first, std::uint32_t count) {
    for (std::uint32_t address = first; address < first + count; ++address) {
      Element element{.kind = kind, .address = address};
      if (const auto found = state.full.find(address); found != state.full.end()) {
        element.full = true;
        element.barcode = found->second.barcode;
        element.source_address = found->second.source_address;
      }
      elements->push_back(std::move(element));
    }
  };
  const LibraryParameters& parameters = store_.parameters();
  add(ElementKind::kPicker, kPickerAddress, 1);
  add(ElementKind::kDrive, kFirstDriveAddress, parameters.drives);
  add(ElementKind::kPort, kFirstPortAddress, parameters.ports);
  add(ElementKind::kSlot, kFirstSlotAddress, parameters.slots);
  return {};
}

Failure EmulatedChanger::CheckTakeable(std::uint32_t from, const StoredElement& element,
                                       FileLock* drive) const {
  if (!store_.IsDrive(from) || element.threading == Threading::kEjected) {
    return {};
  }
  Failure failure = store_.LockDrive(from - kFirstDriveAddress, drive);
  if (failure.os_error == EBUSY && element.threading == Threading::kLoaded) {
    failure.message = "cartridge '" + element.barcode + "' is loaded: " + failure.message;
    failure.hint = "it can be moved when it was unloaded";
  }
  // What was put in and never looked at can be taken out again.
  return element.threading == Threading::kInserted ? Failure() : failure;
}

Answer EmulatedChanger::Move(std::uint32_t from, std::uint32_t to) {
  for (const std::uint32_t address : {from, to}) {
    if (!store_.HasElement(address)) {
      return AnswerOf({.os_error = EINVAL,
                       .message = "library '" + store_.directory() + "' has no element " +
                                  std::to_string(address)});
    }
  }
  FileLock drive;
  return AnswerOf(store_.ChangeState([&](LibraryState& state) -> Failure {
    const auto source = state.full.find(from);
    if (source == state.full.end()) {
      return {.os_error = ENOMEDIUM, .message = ElementName(from) + " is empty"};
    }
    if (from == to) {
      return {};
    }
    if (state.full.contains(to)) {
      return {.os_error = EEXIST,
              .message = ElementName(to) + " is full: '" + state.full[to].barcode + "' is in it"};
    }
    if (Failure failure = CheckTakeable(from, source->second, &drive); failure.failed()) {
      return failure;
    }
    // As libraries do it: of what is in a drive, the slot it came from is remembered.
    StoredElement moved = std::move(source->second);
    moved.source_address = from;
    moved.threading = Threading::kInserted;
    state.full.erase(source);
    state.full[to] = std::move(moved);
    return {};
  }));
}

}  // namespace capstan::tape
