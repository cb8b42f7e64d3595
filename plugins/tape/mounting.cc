#include "plugins/tape/mounting.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <utility>
#include <vector>

#include <sys/random.h>

#include "plugins/tape/inspection.h"
#include "plugins/tape/outcome.h"

namespace capstan::tape {
namespace {

// A drive needs this long to load a cartridge at most; opening is not waited for longer by others.
constexpr std::chrono::seconds kOpenPatience{25};
// In a LOAD: a new LTO-9 cartridge is calibrated for up to two hours.
constexpr std::chrono::hours kLoadPatience{3};
constexpr std::chrono::minutes kCleaningPatience{6};
constexpr std::chrono::seconds kLookInterval{1};
constexpr std::string_view kCleaningPrefix = "CLN";

// Media families have names of their own here: formats are none of a plugin's business.
std::string NewFamily() {
  std::array<unsigned char, 16> bytes{};
  // Cannot fail for so few bytes once the system has started.
  [[maybe_unused]] const ssize_t size = ::getrandom(bytes.data(), bytes.size(), 0);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

Failure GivenUp() {
  return {.os_error = ECANCELED, .message = "the wait for a cartridge was given up"};
}

}  // namespace

std::string Mounting::barcode() {
  const std::lock_guard lock(mutex_);
  return barcode_;
}

void Mounting::SetBarcode(const std::string& barcode) {
  const std::lock_guard lock(mutex_);
  barcode_ = barcode;
}

Failure Mounting::Within(const Failure& cause) const {
  Failure failure = cause;
  failure.message = "drive '" + parts_.name + "': " + cause.message;
  return failure;
}

std::string Mounting::NameOfMounted() const {
  return cartridge_.barcode.empty() ? "the cartridge" : "cartridge '" + cartridge_.barcode + "'";
}

CartridgeNote Mounting::NoteOf(const std::string& barcode) const {
  CartridgeNote note;
  if (parts_.memory == nullptr || barcode.empty() ||
      parts_.memory->ReadNote(barcode, &note).failed()) {
    return {};  // a note that cannot be read is as good as none
  }
  return note;
}

// --- the first medium

Failure Mounting::Open() {
  Failure failure;
  if (parts_.shelf != nullptr) {
    failure = parts_.shelf->Look(parts_.waiting);
    if (!failure.failed()) {
      failure = CleanIfNeeded();
    }
    if (!failure.failed() && !parts_.shelf->mounted_barcode()) {
      return FetchFirst();
    }
  }
  if (!failure.failed()) {
    failure = MakeReady(kOpenPatience);
  }
  return failure.failed() ? Within(failure) : BeginWithMounted();
}

// Until the cartridge can be used; at its beginning then, and examined.
Failure Mounting::MakeReady(std::chrono::milliseconds patience) {
  Answer answer =
      AskPatiently(parts_.waiting, patience, [this] { return parts_.drive.TestReady(); });
  if (answer.done()) {
    cartridge_ = {};
    answer = InspectFromBeginning(parts_.drive, &cartridge_);
  }
  if (!answer.done()) {
    return parts_.waiting.given_up() ? GivenUp() : FailureOf(answer, "use the cartridge");
  }
  if (cartridge_.barcode.empty() && parts_.shelf != nullptr) {
    cartridge_.barcode = parts_.shelf->mounted_barcode().value_or("");
  }
  SetBarcode(cartridge_.barcode);
  return {};
}

// The drive is empty.
Failure Mounting::FetchFirst() {
  while (true) {
    std::optional<Shelved> found;
    if (parts_.mode != CAPSTAN_OPEN_CREATE && parts_.memory != nullptr) {
      found = FindLastUsed(*parts_.shelf, *parts_.memory, parts_.name);
    }
    const bool meant = found.has_value();
    if (!found && starts_anew()) {
      found = FindForWriting();
    }
    if (!found) {
      const bool writes = starts_anew();
      return Within(
          {.os_error = ENOMEDIUM,
           .message = std::string("there is no cartridge in it, and none in the library ") +
                      (writes ? "that can be written" : "that it used last") +
                      (why_useless_.empty() ? "" : "; " + why_useless_),
           .hint = writes ? "import a blank cartridge that is not write-protected"
                          : "load the cartridge into the drive"});
    }
    Failure failure = parts_.shelf->Bring(parts_.waiting, *found);
    if (failure.failed()) {
      return Within(failure);
    }
    failure = LoadAndMakeReady(kOpenPatience);
    if (!failure.failed()) {
      failure = BeginWithMounted();
    }
    if (!failure.failed() || failure.transient || meant) {
      return failure;
    }
    useless_.insert(found->barcode);
    why_useless_ = failure.message;
    if (failure = Eject(); failure.failed()) {
      return failure;
    }
  }
}

Failure Mounting::BeginWithMounted() {
  Failure failure = CheckFirst();
  if (failure.failed()) {
    return Within(failure);
  }
  const CartridgeNote note = NoteOf(cartridge_.barcode);
  if (starts_anew()) {
    family_ = NewFamily();
    overwritten_family_ = note.family;
    sequence_ = 1;
  } else {
    family_ = note.family;
    sequence_ = note.sequence;
  }
  return {};
}

Failure Mounting::CheckFirst() const {
  const std::string name = NameOfMounted();
  const bool reads = parts_.mode == CAPSTAN_OPEN_READ;
  if (!starts_anew() && cartridge_.blank) {
    return {.os_error = ENOENT, .message = name + " is blank"};
  }
  if (!reads && cartridge_.write_protected) {
    return {.os_error = EROFS,
            .message = name + " is write-protected",
            .hint = "move the tab of the cartridge, or load another one"};
  }
  if (parts_.mode == CAPSTAN_OPEN_CREATE && !cartridge_.blank) {
    return {.os_error = EEXIST, .message = name + " is not blank"};
  }
  if (parts_.mode == CAPSTAN_OPEN_REPLACE && cartridge_.worm && !cartridge_.blank) {
    return {.os_error = EPERM,
            .message = name + " can be written once, and there is something on it",
            .hint = "append to it, or load another cartridge"};
  }
  return {};
}

// --- further media

Failure Mounting::Load(std::uint32_t sequence) {
  before_ = barcode();
  if (sequence_ == 0 && sequence > 1 && !family_.empty() && parts_.memory != nullptr &&
      !before_.empty() && parts_.mode == CAPSTAN_OPEN_APPEND) {
    // What was appended to had no note, and only now is it known which medium it was.
    sequence_ = sequence - 1;
    if (Failure failure = NoteWriting(); failure.failed()) {
      return failure;
    }
  }
  useless_.clear();
  why_useless_.clear();
  Failure failure = parts_.shelf != nullptr ? LoadByChanger(sequence) : LoadByHand(sequence);
  parts_.waiting.Say("");
  if (failure.failed()) {
    return Within(failure);
  }
  if (family_.empty()) {
    family_ = NoteOf(cartridge_.barcode).family;
  }
  sequence_ = sequence;
  // Noted before anything is written: should this job die, the next one looks for the medium.
  return parts_.mode == CAPSTAN_OPEN_READ ? Failure{} : NoteWriting();
}

Failure Mounting::LoadByHand(std::uint32_t sequence) {
  // Fails if somebody has taken it out already.
  [[maybe_unused]] const Answer ignored = parts_.drive.Unload();
  SetBarcode("");
  while (true) {
    parts_.waiting.Say(WaitsFor(sequence));
    if (!parts_.waiting.Sleep(kLookInterval)) {
      return GivenUp();
    }
    const Answer ready = parts_.drive.TestReady();
    if (ready.outcome == Outcome::kNoMedium || ready.outcome == Outcome::kBusy) {
      continue;
    }
    const Failure failure = MakeReady(kLoadPatience);
    why_useless_ = failure.failed() ? failure.message : WhyNot(sequence, Brought::kByHand);
    if (why_useless_.empty()) {
      return {};
    }
    [[maybe_unused]] const Answer out = parts_.drive.Unload();
    SetBarcode("");
  }
}

Failure Mounting::LoadByChanger(std::uint32_t sequence) {
  Failure failure = Eject();
  while (true) {
    Attempt attempt = Attempt::kNothingThere;
    if (!failure.failed()) {
      failure = TryChanger(sequence, &attempt);
    }
    if (!failure.failed() && attempt == Attempt::kFits) {
      return {};
    }
    if (attempt == Attempt::kTryNext) {
      continue;
    }
    parts_.waiting.Say(failure.failed() ? failure.message : WaitsFor(sequence));
    if (!parts_.waiting.Sleep(kLookInterval)) {
      return GivenUp();
    }
    failure = {};
  }
}

// Mounts one cartridge that may be the wanted one, unless somebody else has done it.
Failure Mounting::TryChanger(std::uint32_t sequence, Attempt* attempt) {
  Failure failure = parts_.shelf->Look(parts_.waiting);
  if (failure.failed()) {
    return failure;
  }
  Brought brought = Brought::kByHand;
  if (!parts_.shelf->mounted_barcode()) {
    // Who appends reads first, and begins on a medium that there is.
    std::optional<Shelved> found;
    if (!starts_anew()) {
      found = FindForReading(sequence);
    }
    if (!found && parts_.mode != CAPSTAN_OPEN_READ) {
      found = FindForWriting();
    }
    if (!found) {
      return {};
    }
    parts_.waiting.Say("cartridge '" + found->barcode + "' is being loaded");
    if (failure = parts_.shelf->Bring(parts_.waiting, *found); failure.failed()) {
      return failure;
    }
    brought = Brought::kByChanger;
  }
  const std::string barcode = parts_.shelf->mounted_barcode().value_or("");
  failure = LoadAndMakeReady(kLoadPatience);
  const std::string why_not = failure.failed() ? failure.message : WhyNot(sequence, brought);
  if (why_not.empty()) {
    *attempt = Attempt::kFits;
    return {};
  }
  if (parts_.waiting.given_up()) {
    return GivenUp();
  }
  why_useless_ = why_not;
  // One that is put in again and again by hand is looked at once a second.
  *attempt = useless_.insert(barcode).second ? Attempt::kTryNext : Attempt::kNothingThere;
  return Eject();
}

Failure Mounting::LoadAndMakeReady(std::chrono::milliseconds patience) {
  const Answer loaded =
      AskPatiently(parts_.waiting, patience, [this] { return parts_.drive.Load(); });
  return loaded.done() ? MakeReady(patience) : FailureOf(loaded, "load the cartridge");
}

std::string Mounting::WhyNot(std::uint32_t sequence, Brought brought) const {
  const std::string name = NameOfMounted();
  const CartridgeNote note = NoteOf(cartridge_.barcode);
  const bool known = !family_.empty() && !note.family.empty();
  const bool of_family = known && note.family == family_;
  if (parts_.mode == CAPSTAN_OPEN_READ) {
    if (known && !of_family) {
      return name + " is of another family";
    }
    return of_family && note.sequence != 0 && note.sequence != sequence
               ? name + " is medium " + std::to_string(note.sequence)
               : "";
  }
  if (cartridge_.write_protected) {
    return name + " is write-protected";
  }
  const bool of_the_overwritten =
      !overwritten_family_.empty() && note.family == overwritten_family_;
  const bool meant =
      brought == Brought::kByHand && parts_.mode == CAPSTAN_OPEN_REPLACE && note.family != family_;
  const bool may_go = (of_the_overwritten || meant) && !cartridge_.worm;
  const bool wanted = !starts_anew() && of_family && note.sequence == sequence;
  return cartridge_.blank || may_go || wanted ? "" : name + " is not blank";
}

std::string Mounting::WaitsFor(std::uint32_t sequence) const {
  const std::string medium = "medium " + std::to_string(sequence) + " of the family" +
                             (before_.empty() ? "" : " on " + before_);
  const bool reads = parts_.mode == CAPSTAN_OPEN_READ;
  const std::string useless = why_useless_.empty() ? "" : " (" + why_useless_ + ")";
  if (parts_.shelf == nullptr) {
    return (reads ? medium + ": put it" : medium + ": put a blank cartridge") + " into the drive" +
           useless;
  }
  for (const Shelved& other : parts_.shelf->in_other_drives()) {
    const CartridgeNote note = NoteOf(other.barcode);
    if (reads && !family_.empty() && note.family == family_ && note.sequence == sequence) {
      return medium + ": " + other.barcode + " is in drive " + std::to_string(other.address);
    }
  }
  return medium + (reads ? ": import it" : ": import a blank cartridge") + " or load it by hand" +
         useless;
}

// --- cartridges of the library

std::optional<Shelved> Mounting::FindForWriting() const {
  for (const Shelved& cartridge : parts_.shelf->cartridges()) {
    const CartridgeNote note = NoteOf(cartridge.barcode);
    const bool of_the_overwritten =
        !overwritten_family_.empty() && note.family == overwritten_family_;
    ShelvedCartridge known;
    const bool described = parts_.memory != nullptr && !cartridge.barcode.empty() &&
                           parts_.memory->Describe(cartridge.barcode, &known);
    const bool writable = described ? known.cartridge.blank || of_the_overwritten
                                    : note.family.empty() || of_the_overwritten;
    const bool refused = described && (!known.usable || known.cartridge.write_protected ||
                                       (known.cartridge.worm && !known.cartridge.blank));
    if (writable && !refused && !IsCleaning(cartridge) && !useless_.contains(cartridge.barcode)) {
      return cartridge;
    }
  }
  return std::nullopt;
}

std::optional<Shelved> Mounting::FindForReading(std::uint32_t sequence) const {
  std::vector<Shelved> cartridges = parts_.shelf->cartridges();
  // Somebody who fills a library by hand puts the media of a family side by side.
  const auto before = std::find_if(cartridges.begin(), cartridges.end(),
                                   [this](const Shelved& each) { return each.barcode == before_; });
  if (before != cartridges.end()) {
    std::rotate(cartridges.begin(), before, cartridges.end());
  }
  for (const Shelved& cartridge : cartridges) {
    const CartridgeNote note = NoteOf(cartridge.barcode);
    const bool noted_as_it =
        !family_.empty() && note.family == family_ && note.sequence == sequence;
    const bool may_be_it = family_.empty() && parts_.mode == CAPSTAN_OPEN_READ &&
                           cartridge.barcode != before_ &&
                           (note.family.empty() || note.sequence == sequence);
    if ((noted_as_it || (may_be_it && !IsKnownAsBlank(cartridge))) && !IsCleaning(cartridge) &&
        !useless_.contains(cartridge.barcode)) {
      return cartridge;
    }
  }
  return std::nullopt;
}

bool Mounting::IsKnownAsBlank(const Shelved& cartridge) const {
  ShelvedCartridge known;
  return parts_.memory != nullptr && !cartridge.barcode.empty() &&
         parts_.memory->Describe(cartridge.barcode, &known) && known.cartridge.blank;
}

bool Mounting::IsCleaning(const Shelved& cartridge) const {
  ShelvedCartridge known;
  return cartridge.barcode.starts_with(kCleaningPrefix) ||
         (parts_.memory != nullptr && !cartridge.barcode.empty() &&
          parts_.memory->Describe(cartridge.barcode, &known) && known.cleaning);
}

// A drive that asks for cleaning gets it, if the library has what it takes.
Failure Mounting::CleanIfNeeded() {
  if (!parts_.drive.status().cleaning_needed) {
    return {};
  }
  std::optional<Shelved> cleaning;
  for (const Shelved& cartridge : parts_.shelf->cartridges()) {
    if (!cleaning && IsCleaning(cartridge)) {
      cleaning = cartridge;
    }
  }
  if (!cleaning) {
    return {};  // it may do for some time yet
  }
  const std::optional<std::string> mounted = parts_.shelf->mounted_barcode();
  Failure failure = Eject();
  if (!failure.failed()) {
    failure = parts_.shelf->Bring(parts_.waiting, *cleaning);
  }
  if (failure.failed()) {
    return failure;
  }
  // However that ends: a cleaning cartridge may be used up.
  [[maybe_unused]] const Answer cleaned =
      AskPatiently(parts_.waiting, kCleaningPatience, [this] { return parts_.drive.Load(); });
  failure = Eject();
  for (const Shelved& cartridge : parts_.shelf->cartridges()) {
    if (!failure.failed() && mounted && cartridge.barcode == *mounted) {
      failure = parts_.shelf->Bring(parts_.waiting, cartridge);
      [[maybe_unused]] const Answer loaded = parts_.drive.Load();  // MakeReady tells
      break;
    }
  }
  return failure;
}

Failure Mounting::NoteWriting() {
  if (family_.empty()) {
    family_ = NewFamily();
  }
  const std::string mounted = barcode();
  if (parts_.memory == nullptr || mounted.empty()) {
    return {};
  }
  return parts_.memory->WriteNote(mounted, {.family = family_,
                                            .sequence = sequence_,
                                            .drive = parts_.name,
                                            .token = parts_.token,
                                            .used_unix_s = std::time(nullptr)});
}

Failure Mounting::Eject() {
  Failure failure;
  if (parts_.shelf != nullptr) {
    failure = parts_.shelf->Look(parts_.waiting);
    if (failure.failed() || !parts_.shelf->mounted_barcode()) {
      return failure;
    }
  }
  const Answer answer =
      AskPatiently(parts_.waiting, kOpenPatience, [this] { return parts_.drive.Unload(); });
  if (!answer.done() && answer.outcome != Outcome::kNoMedium) {
    return FailureOf(answer, "unload the cartridge");
  }
  SetBarcode("");
  return parts_.shelf != nullptr ? parts_.shelf->PutBack(parts_.waiting) : Failure{};
}

}  // namespace capstan::tape
