// Checks a tape drive, and the library that it is in, by using them. OVERWRITES THE CARTRIDGE.
//
//   tape_drive_check DRIVE [--changer URL --slot ADDRESS --drive ADDRESS] [--fill] [--protected]
//                    [--blocks COUNT] [--block-size BYTES] [--tgt]
//
// DRIVE and URL are as in plugins/tape/scsi/scsi_devices.h. With --changer the cartridge of the
// slot is put into the drive first, and back in the end. --fill also writes the cartridge full, and
// --protected expects it to be write protected, and checks that alone. --tgt excuses the drives of
// tgt: they count filemarks as blocks when they space, stay ready without a cartridge, and cannot
// be reserved.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <signal.h>

#include "plugins/tape/scsi/scsi_devices.h"
#include "tests/conformance/tape_scsi/drive_checks.h"

namespace capstan::test {
namespace {

using tape::Answer;
using tape::Element;
using tape::ElementKind;
using tape::Outcome;

struct Options {
  std::string drive;
  std::string changer;
  std::uint32_t slot_address = 0;
  std::uint32_t drive_address = 0;
  bool fill = false;
  bool is_protected = false;
  bool is_tgt = false;
  std::uint32_t block_count = 256;
  std::uint32_t block_size = 256U << 10;
};

bool Parse(int count, char** arguments, Options* options) {
  const std::vector<std::string> words(arguments + 1, arguments + count);
  for (std::size_t index = 0; index < words.size(); ++index) {
    const std::string& word = words[index];
    if (word == "--fill") {
      options->fill = true;
    } else if (word == "--tgt") {
      options->is_tgt = true;
    } else if (word == "--protected") {
      options->is_protected = true;
    } else if (word.rfind("--", 0) != 0 && options->drive.empty()) {
      options->drive = word;
    } else if (index + 1 < words.size()) {
      const std::string& value = words[++index];
      const auto number = static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 10));
      if (word == "--changer") {
        options->changer = value;
      } else if (word == "--slot") {
        options->slot_address = number;
      } else if (word == "--drive") {
        options->drive_address = number;
      } else if (word == "--blocks") {
        options->block_count = number;
      } else if (word == "--block-size") {
        options->block_size = number;
      } else {
        return false;
      }
    } else {
      return false;
    }
  }
  return !options->drive.empty();
}

class Report {
 public:
  void Add(const char* what, const std::string& wrong, const std::string& remark = "") {
    failures_ += wrong.empty() ? 0 : 1;
    fmt::print("{:<8}{}{}{}\n", wrong.empty() ? "ok" : "FAILED", what,
               wrong.empty() && remark.empty() ? "" : ": ", wrong.empty() ? remark : wrong);
    std::fflush(stdout);
  }
  int failures() const { return failures_; }

 private:
  int failures_ = 0;
};

const Element* Find(const std::vector<Element>& elements, std::uint32_t address) {
  const auto found = std::find_if(elements.begin(), elements.end(),
                                  [&](const Element& e) { return e.address == address; });
  return found == elements.end() ? nullptr : &*found;
}

std::string WrongMove(tape::MediumChanger* changer, std::uint32_t from, std::uint32_t to) {
  const Answer answer = changer->Move(from, to);
  return answer.done() ? "" : answer.failure.message;
}

// The cartridge of the slot goes into the drive; what cannot be moved is refused.
void CheckLibrary(const Options& options, tape::MediumChanger* changer, Report* report) {
  std::vector<Element> before;
  const Answer read = changer->Inventory(&before);
  const Element* const slot = Find(before, options.slot_address);
  const Element* const drive = Find(before, options.drive_address);
  const bool known = slot != nullptr && drive != nullptr && slot->kind == ElementKind::kSlot &&
                     drive->kind == ElementKind::kDrive && slot->full && !slot->barcode.empty();
  report->Add("inventory",
              !read.done() ? read.failure.message
              : known      ? ""
                           : "elements are missing",
              fmt::format("{} elements, '{}' in slot {}", before.size(),
                          slot == nullptr ? "" : slot->barcode, options.slot_address));
  if (!known) {
    return;
  }
  report->Add("move into the drive",
              WrongMove(changer, options.slot_address, options.drive_address));
  std::vector<Element> after;
  const Answer again = changer->Inventory(&after);
  const Element* const loaded = Find(after, options.drive_address);
  const bool moved =
      again.done() && loaded != nullptr && loaded->full && loaded->barcode == slot->barcode &&
      loaded->source_address == options.slot_address && !Find(after, options.slot_address)->full;
  report->Add("inventory of the full drive",
              moved ? "" : "the cartridge is not where it should be");
  const Answer empty = changer->Move(options.slot_address, options.drive_address);
  report->Add("refuses to move what is not there", empty.done() ? "it was moved all the same" : "",
              empty.failure.message);
  const Answer nowhere = changer->Move(options.drive_address, 65'000);
  report->Add("refuses an unknown element", nowhere.done() ? "it was moved all the same" : "",
              nowhere.failure.message);
}

void CheckDrive(const Options& options, tape::TapeDrive* drive, Report* report) {
  const std::string wrong = AwaitReady(drive);
  tape::MountedCartridge cartridge;
  const Answer inspected = wrong.empty() ? drive->Inspect(&cartridge) : Answer{};
  report->Add("ready", wrong.empty() ? inspected.failure.message : wrong,
              fmt::format("{}, blocks of {} bytes at most, {}", drive->status().mode,
                          drive->limits().block_size_max,
                          drive->limits().locates ? "locates" : "does not locate"));
  if (!wrong.empty()) {
    return;
  }
  if (options.is_protected) {
    report->Add("write protection", CheckWriteProtection(drive));
    return;
  }
  report->Add("blocks and filemarks", CheckBlocksAndFilemarks(drive));
  report->Add("spacing", CheckSpacing(drive, options.is_tgt ? SpacingOf::kBlocksAndFilemarks
                                                            : SpacingOf::kStandard));
  report->Add("overwriting", CheckOverwriting(drive));
  report->Add("positions", CheckPositions(drive));
  Throughput throughput;
  const std::string slow =
      CheckThroughput(drive, options.block_count, options.block_size, &throughput);
  report->Add(
      "throughput", slow,
      fmt::format("{} x {} KiB: write {:.0f} MB/s, read {:.0f} MB/s", options.block_count,
                  options.block_size >> 10, throughput.write_mb_per_s, throughput.read_mb_per_s));
  if (options.fill) {
    std::uint32_t block_count = 0;
    const std::string full = CheckEndOfMedium(drive, options.block_size, &block_count);
    report->Add("end of medium", full, fmt::format("{} blocks", block_count));
  }
}

int Run(const Options& options) {
  Report report;
  std::unique_ptr<tape::MediumChanger> changer;
  if (!options.changer.empty()) {
    const tape::Failure failure = tape::OpenScsiChanger(options.changer, &changer);
    report.Add("open the changer", failure.message);
    if (failure.failed()) {
      return EXIT_FAILURE;
    }
    CheckLibrary(options, changer.get(), &report);
  }
  std::unique_ptr<tape::TapeDrive> drive;
  const tape::Failure failure = tape::OpenScsiDrive(options.drive, &drive);
  report.Add("open the drive", failure.message);
  if (failure.failed()) {
    return EXIT_FAILURE;
  }
  if (!options.is_tgt) {
    std::unique_ptr<tape::TapeDrive> second;
    const tape::Failure busy = tape::OpenScsiDrive(options.drive, &second);
    report.Add("keeps others out", busy.failed() ? "" : "the drive was opened twice", busy.message);
  }
  CheckDrive(options, drive.get(), &report);
  if (changer != nullptr) {
    const Answer unloaded = drive->Unload();
    report.Add("unload", unloaded.done() ? "" : unloaded.failure.message);
    if (!options.is_tgt) {
      const Answer absent = drive->TestReady();
      report.Add("no cartridge", absent.done() ? "the drive is ready without one" : "",
                 NameOf(absent.outcome));
    }
    report.Add("move back", WrongMove(changer.get(), options.drive_address, options.slot_address));
  }
  return report.failures() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace capstan::test

int main(int count, char** arguments) {
  capstan::test::Options options;
  if (!capstan::test::Parse(count, arguments, &options)) {
    fmt::print(
        stderr,
        "usage: tape_drive_check DRIVE [--changer URL --slot ADDRESS --drive "
        "ADDRESS]\n  [--fill] [--protected] [--blocks COUNT] [--block-size BYTES] [--tgt]\n");
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  return capstan::test::Run(options);
}
