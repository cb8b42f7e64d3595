#include "plugins/tape/stat.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

#include "plugins/tape/inspection.h"
#include "plugins/tape/outcome.h"
#include "plugins/tape/waiting.h"

namespace capstan::tape {
namespace {

constexpr std::chrono::seconds kPatience{25};

void TakeFacts(const MountedCartridge& cartridge, MediumFacts* facts) {
  facts->exists = !cartridge.blank;
  facts->free_bytes = cartridge.remaining_bytes;
  const bool known = cartridge.capacity_bytes != UINT64_MAX &&
                     cartridge.remaining_bytes < cartridge.capacity_bytes;
  // Where nobody knows how much it is, it is something.
  facts->size_bytes =
      known ? cartridge.capacity_bytes - cartridge.remaining_bytes : (cartridge.blank ? 0 : 1);
}

Failure AskDrive(TapeDrive& drive, Waiting& waiting, MediumFacts* facts) {
  Answer answer = AskPatiently(waiting, kPatience, [&] { return drive.TestReady(); });
  if (answer.outcome == Outcome::kNoMedium) {
    return {};
  }
  MountedCartridge cartridge;
  if (answer.done()) {
    answer = InspectFromBeginning(drive, &cartridge);
  }
  if (!answer.done()) {
    return FailureOf(answer, "look at the cartridge");
  }
  TakeFacts(cartridge, facts);
  return {};
}

}  // namespace

Failure FindFacts(const std::string& name, TapeDrive* drive, Shelf* shelf, CartridgeMemory* memory,
                  MediumFacts* facts) {
  Waiting waiting;
  std::optional<std::string> barcode;
  bool mounted = shelf == nullptr;
  if (shelf != nullptr) {
    if (Failure failure = shelf->Look(waiting); failure.failed()) {
      return failure;
    }
    barcode = shelf->mounted_barcode();
    mounted = barcode.has_value();
    const auto last =
        mounted || memory == nullptr ? std::nullopt : FindLastUsed(*shelf, *memory, name);
    barcode = last ? last->barcode : barcode;
  }
  CartridgeNote note;
  if (barcode && memory != nullptr && !memory->ReadNote(*barcode, &note).failed()) {
    facts->used_unix_s = note.used_unix_s;
  }
  if (mounted && drive != nullptr) {
    return AskDrive(*drive, waiting, facts);
  }
  if (!mounted && !barcode) {
    return {};
  }
  ShelvedCartridge known;
  if (memory != nullptr && memory->Describe(*barcode, &known)) {
    TakeFacts(known.cartridge, facts);
    facts->size_bytes = known.size_bytes;
    return {};
  }
  if (!mounted) {
    facts->exists = true;  // it was written, as there is a note on it
    facts->size_bytes = 1;
    return {};
  }
  return {.os_error = EBUSY,
          .message = "drive '" + name + "' is being used, and what is in it cannot be told",
          .hint = "wait until that job has ended",
          .transient = true};
}

Failure FindWriting(Shelf& shelf, CartridgeMemory& memory, const std::string& token) {
  if (!memory.lasts()) {
    return {};
  }
  Waiting waiting;
  if (Failure failure = shelf.Look(waiting); failure.failed()) {
    return failure;
  }
  std::vector<Shelved> all = shelf.cartridges();
  for (const Shelved& mounted : shelf.in_other_drives()) {
    all.push_back(mounted);
  }
  all.push_back({.barcode = shelf.mounted_barcode().value_or("")});
  for (const Shelved& cartridge : all) {
    CartridgeNote note;
    if (!cartridge.barcode.empty() && !memory.ReadNote(cartridge.barcode, &note).failed() &&
        note.token == token) {
      return {};
    }
  }
  return {.os_error = ENOENT, .message = "no cartridge was written by '" + token + "'"};
}

}  // namespace capstan::tape
