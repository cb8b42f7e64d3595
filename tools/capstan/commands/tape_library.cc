// tape library create, load, unload, import, eject, erase.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "plugins/tape/emulator/generation.h"
#include "tools/capstan/commands/tape.h"
#include "tools/capstan/units.h"
#include "tools/client/text_width.h"
#include "vdi/base/status.h"

namespace capstan::cli {
namespace {

using tape::EmulatedLibrary;
using tape::Failure;

std::vector<tape::CartridgeRecord> NewCartridges(const TapeCreateOptions& options,
                                                 std::uint32_t data_count) {
  const tape::Generation* const generation = tape::FindGeneration(options.parameters.generation);
  std::vector<tape::CartridgeRecord> records;
  const auto add = [&](std::string_view prefix, std::string_view medium_id, std::uint32_t count,
                       tape::CartridgeKind kind) {
    for (std::uint32_t number = 1; number <= count; ++number) {
      records.push_back(
          {.barcode = fmt::format("{}{:03}{}", prefix, number, medium_id), .kind = kind});
    }
  };
  add("CAP", generation->medium_id, data_count, tape::CartridgeKind::kData);
  add("WRM", generation->worm_medium_id, options.worm, tape::CartridgeKind::kData);
  add("CLN", "L1", options.cleaning, tape::CartridgeKind::kCleaning);
  return records;
}

// What cannot be known from the parameters alone; `data_count` cartridges are to be made.
Status CheckCreate(const TapeCreateOptions& options, std::uint32_t* data_count) {
  const std::uint32_t slots = options.parameters.slots;
  const std::uint64_t others = std::uint64_t{options.worm} + options.cleaning;
  const bool by_default = options.cartridges == UINT32_MAX;
  const std::uint64_t all = others + (by_default ? 0 : options.cartridges);
  if (all > slots) {
    return Error(Code::kInvalidArgument, "{} cartridges do not fit in {} slots", all, slots)
        .WithHint("--slots makes more");
  }
  *data_count = by_default ? slots - static_cast<std::uint32_t>(others) : options.cartridges;
  const tape::Generation* const generation = tape::FindGeneration(options.parameters.generation);
  if (generation != nullptr && options.worm > 0 && generation->worm_medium_id.empty()) {
    return Error(Code::kInvalidArgument, "there are no WORM cartridges of {}", generation->name)
        .WithHint("there are some from LTO-3 to LTO-9");
  }
  return OkStatus();
}

// At the terminal; kFailedPrecondition without one.
Result<bool> Ask(Console& console, const std::string& question) {
  if (::isatty(STDIN_FILENO) == 0) {
    return Error(Code::kFailedPrecondition, "nobody is there to be asked")
        .WithHint("--yes erases without asking");
  }
  console.Error(question);
  std::string answer;
  for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar()) {
    answer.push_back(static_cast<char>(c));
  }
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

ExitStatus ReportTapeFailure(Console& console, const Failure& failure) {
  // A call that failed says why by its errno only.
  const bool call_failed = failure.message.starts_with("unable to ") && failure.os_error != 0;
  Status status = call_failed ? OsError(failure.os_error, Printable(failure.message))
                              : Error(Code::kInternal, "{}", Printable(failure.message));
  if (!failure.hint.empty()) {
    status = std::move(status).WithHint(failure.hint);
  }
  // There is no server that could be unreachable.
  (void)ReportFailure(console, status);
  return ExitStatus::kFailed;
}

ExitStatus RunTapeCreate(Session& session, const TapeCreateOptions& options) {
  std::uint32_t data_count = 0;
  if (const Status status = CheckCreate(options, &data_count); !status.ok()) {
    ReportFailure(session.console, status);
    return ExitStatus::kUsage;
  }
  EmulatedLibrary library;
  if (Failure failure = EmulatedLibrary::Create(options.directory, options.parameters, &library);
      failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  const std::vector<tape::CartridgeRecord> records = NewCartridges(options, data_count);
  for (const tape::CartridgeRecord& record : records) {
    if (Failure failure = library.AddBlank(record); failure.failed()) {
      return ReportTapeFailure(session.console, failure);
    }
  }
  const tape::LibraryParameters& parameters = library.store().parameters();
  session.console.Out(
      fmt::format("Tape library '{}':\n{} {} drives, {} slots, {} cartridges of {}.\n",
                  Printable(options.directory), parameters.drives, parameters.generation,
                  parameters.slots, records.size(), FormatBytes(parameters.capacity_bytes)));
  return ExitStatus::kDone;
}

ExitStatus RunTapeLoad(Session& session, const TapeCartridgeOptions& options) {
  EmulatedLibrary library;
  std::string remark;
  Failure failure = EmulatedLibrary::Open(options.directory, &library);
  if (!failure.failed()) {
    failure = library.Load(options.barcode, options.drive_index, &remark);
  }
  if (failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  session.console.Out(remark.empty() ? fmt::format("Cartridge '{}' is loaded in drive {}.\n",
                                                   options.barcode, options.drive_index)
                                     : fmt::format("{}.\n", remark));
  return ExitStatus::kDone;
}

ExitStatus RunTapeUnload(Session& session, const TapeCartridgeOptions& options) {
  EmulatedLibrary library;
  std::uint32_t to = 0;
  Failure failure = EmulatedLibrary::Open(options.directory, &library);
  if (!failure.failed()) {
    failure = library.Unload(options.drive_index, &to);
  }
  if (failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  session.console.Out(fmt::format("The cartridge of drive {} is in {} now.\n", options.drive_index,
                                  TapePlaceName(to)));
  return ExitStatus::kDone;
}

ExitStatus RunTapeImport(Session& session, const TapeImportOptions& options) {
  EmulatedLibrary library;
  Failure failure = EmulatedLibrary::Open(options.directory, &library);
  if (!failure.failed() && !options.new_barcode.empty()) {
    failure = library.AddBlank(
        {.barcode = options.new_barcode, .capacity_bytes = options.capacity_bytes});
  } else if (!failure.failed()) {
    const bool is_outside = options.barcode.empty() && !tape::CheckBarcode(options.item).failed() &&
                            !std::filesystem::exists(options.item);
    failure = is_outside ? library.Insert(options.item)
                         : library.ImportImage(options.item, options.barcode);
  }
  if (failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  session.console.Out("The cartridge is in the library.\n");
  return ExitStatus::kDone;
}

ExitStatus RunTapeEject(Session& session, const TapeCartridgeOptions& options) {
  EmulatedLibrary library;
  Failure failure = EmulatedLibrary::Open(options.directory, &library);
  if (!failure.failed()) {
    failure = library.Eject(options.barcode, options.out ? EmulatedLibrary::Exit::kOutside
                                                         : EmulatedLibrary::Exit::kPort);
  }
  if (failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  session.console.Out(fmt::format("Cartridge '{}' is {}.\n", options.barcode,
                                  options.out ? "outside of the library now" : "in a port now"));
  return ExitStatus::kDone;
}

ExitStatus RunTapeErase(Session& session, const TapeCartridgeOptions& options) {
  EmulatedLibrary library;
  tape::CartridgeView cartridge;
  Failure failure = EmulatedLibrary::Open(options.directory, &library);
  if (!failure.failed()) {
    failure = library.Find(options.barcode, &cartridge);
  }
  if (failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  if (!options.yes) {
    const Result<bool> agreed =
        Ask(session.console, fmt::format("Erase {} on cartridge '{}'? [y/N] ",
                                         FormatBytes(cartridge.used_bytes), options.barcode));
    if (!agreed.ok()) {
      return ReportFailure(session.console, agreed.status());
    }
    if (!*agreed) {
      session.console.Out("Nothing was erased.\n");
      return ExitStatus::kFailed;
    }
  }
  if (failure = library.Erase(options.barcode); failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  session.console.Out(fmt::format("Cartridge '{}' is blank.\n", options.barcode));
  return ExitStatus::kDone;
}

}  // namespace capstan::cli
