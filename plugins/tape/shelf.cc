#include "plugins/tape/shelf.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "plugins/tape/outcome.h"

namespace capstan::tape {
namespace {

// Somebody else's move takes this long at most.
constexpr std::chrono::seconds kMovePatience{60};

}  // namespace

Failure Shelf::Look(Waiting& waiting) {
  const Answer answer = AskPatiently(waiting, kMovePatience, [this] {
    elements_.clear();
    return changer_->Inventory(&elements_);
  });
  std::sort(elements_.begin(), elements_.end(),
            [](const Element& a, const Element& b) { return a.address < b.address; });
  if (!answer.done()) {
    return FailureOf(answer, "take the library's inventory");
  }
  return drive() != nullptr
             ? Failure{}
             : Failure{.os_error = ENXIO,
                       .message = "the library has no drive " + std::to_string(drive_index_)};
}

const Element* Shelf::drive() const {
  std::uint32_t index = 0;
  for (const Element& element : elements_) {
    if (element.kind == ElementKind::kDrive && index++ == drive_index_) {
      return &element;
    }
  }
  return nullptr;
}

std::optional<std::string> Shelf::mounted_barcode() const {
  const Element* const own = drive();
  return own != nullptr && own->full ? std::optional(own->barcode) : std::nullopt;
}

std::vector<Shelved> Shelf::cartridges() const {
  std::vector<Shelved> found;
  for (const ElementKind kind : {ElementKind::kSlot, ElementKind::kPort}) {
    for (const Element& element : elements_) {
      if (element.kind == kind && element.full) {
        found.push_back({.address = element.address, .barcode = element.barcode});
      }
    }
  }
  return found;
}

std::vector<Shelved> Shelf::in_other_drives() const {
  std::vector<Shelved> found;
  std::uint32_t index = 0;
  for (const Element& element : elements_) {
    if (element.kind != ElementKind::kDrive) {
      continue;
    }
    if (element.full && index != drive_index_) {
      found.push_back({.address = index, .barcode = element.barcode});
    }
    ++index;
  }
  return found;
}

Failure Shelf::Bring(Waiting& waiting, const Shelved& cartridge) {
  return Move(waiting, cartridge.address, drive()->address,
              "load cartridge '" + cartridge.barcode + "'");
}

Failure Shelf::PutBack(Waiting& waiting) {
  const Element& own = *drive();
  const Element* target = nullptr;
  for (const Element& element : elements_) {
    const bool free_slot = element.kind == ElementKind::kSlot && !element.full;
    if (free_slot && (target == nullptr || element.address == own.source_address)) {
      target = &element;
    }
  }
  if (target == nullptr) {
    return {.os_error = ENOSPC,
            .message = "unable to take cartridge '" + own.barcode +
                       "' out of the drive: the library has no empty slot",
            .hint = "take a cartridge out of the library"};
  }
  return Move(waiting, own.address, target->address,
              "take cartridge '" + own.barcode + "' out of the drive");
}

Failure Shelf::Move(Waiting& waiting, std::uint32_t from, std::uint32_t to,
                    const std::string& what) {
  const Answer answer =
      AskPatiently(waiting, kMovePatience, [&] { return changer_->Move(from, to); });
  return answer.done() ? Look(waiting) : FailureOf(answer, what);
}

std::optional<Shelved> FindLastUsed(const Shelf& shelf, CartridgeMemory& memory,
                                    const std::string& name) {
  std::optional<Shelved> last;
  std::pair<std::int64_t, std::uint32_t> newest{0, 0};
  for (const Shelved& cartridge : shelf.cartridges()) {
    CartridgeNote note;
    const bool noted = !cartridge.barcode.empty() &&
                       !memory.ReadNote(cartridge.barcode, &note).failed() && note.drive == name;
    const std::pair age(note.used_unix_s, note.sequence);
    if (noted && age > newest) {
      newest = age;
      last = cartridge;
    }
  }
  return last;
}

}  // namespace capstan::tape
