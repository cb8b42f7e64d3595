// tape library list, show: what is in a library, as tables or JSON.
#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "tools/capstan/commands/tape.h"
#include "tools/capstan/json_printer.h"
#include "tools/capstan/table_printer.h"
#include "tools/capstan/units.h"

namespace capstan::cli {
namespace {

using tape::CartridgeView;
using tape::EmulatedLibrary;
using tape::Failure;

std::string KindName(const tape::CartridgeRecord& record) {
  if (record.kind == tape::CartridgeKind::kCleaning) {
    return "cleaning";
  }
  return record.worm ? "WORM" : "data";
}

std::string StateName(const CartridgeView& view) {
  if (view.record.kind == tape::CartridgeKind::kCleaning) {
    return fmt::format("good for {}", view.record.cleanings_left);
  }
  const bool full = view.used_bytes >= view.record.capacity_bytes;
  return fmt::format("{}{}",
                     view.used_bytes == 0 ? "blank"
                     : full               ? "full"
                                          : "recorded",
                     view.record.write_protected ? ", protected" : "");
}

ResultSet CartridgesForPrograms(const std::vector<CartridgeView>& cartridges) {
  ResultSet rows{.columns = {{"barcode", "nvarchar(32)"},
                             {"kind", "nvarchar(16)"},
                             {"generation", "nvarchar(16)"},
                             {"place", "nvarchar(16)"},
                             {"used_bytes", "bigint"},
                             {"capacity_bytes", "bigint"},
                             {"write_protected", "bit"},
                             {"load_count", "bigint"},
                             {"bytes_written", "bigint"},
                             {"cleanings_left", "int"},
                             {"notes", "nvarchar(max)"}}};
  for (const CartridgeView& view : cartridges) {
    const tape::CartridgeRecord& record = view.record;
    std::string notes;
    for (const auto& [key, value] : record.notes) {
      notes += fmt::format("{}{}={}", notes.empty() ? "" : "; ", key, value);
    }
    rows.rows.push_back({record.barcode, KindName(record), record.generation,
                         TapePlaceName(view.address), std::to_string(view.used_bytes),
                         std::to_string(record.capacity_bytes), record.write_protected ? "1" : "0",
                         std::to_string(record.load_count), std::to_string(record.bytes_written),
                         std::to_string(record.cleanings_left), std::move(notes)});
  }
  return rows;
}

ResultSet CartridgesForPeople(const std::vector<CartridgeView>& cartridges) {
  ResultSet rows{.columns = {{"cartridge", "nvarchar(32)"},
                             {"kind", "nvarchar(16)"},
                             {"generation", "nvarchar(16)"},
                             {"place", "nvarchar(16)"},
                             {"used", "int"},
                             {"capacity", "int"},
                             {"loads", "int"},
                             {"state", "nvarchar(32)"}}};
  for (const CartridgeView& view : cartridges) {
    const tape::CartridgeRecord& record = view.record;
    rows.rows.push_back({record.barcode, KindName(record), record.generation,
                         TapePlaceName(view.address), FormatBytes(view.used_bytes),
                         FormatBytes(record.capacity_bytes), std::to_string(record.load_count),
                         StateName(view)});
  }
  return rows;
}

// One line of `show`.
struct ElementRow {
  tape::Element element;
  std::string state;
  int process = 0;
  const CartridgeView* cartridge = nullptr;  // in it
};

std::vector<ElementRow> ElementRows(const std::vector<tape::Element>& elements,
                                    const std::vector<tape::DriveView>& drives,
                                    const std::vector<CartridgeView>& cartridges) {
  std::vector<ElementRow> rows;
  for (const tape::Element& element : elements) {
    if (element.kind == tape::ElementKind::kPicker) {
      continue;  // always empty: a move ends where it leads
    }
    ElementRow row{.element = element, .state = element.full ? "full" : "empty"};
    if (element.kind == tape::ElementKind::kDrive) {
      const tape::DriveView& drive = drives[element.address - tape::EmulatedDriveAddress(0)];
      row.process = drive.process;
      row.state = drive.loaded ? "loaded" : row.state;
      row.state += drive.wear.cleaning_needed ? ", needs cleaning" : "";
    }
    const auto found =
        std::find_if(cartridges.begin(), cartridges.end(),
                     [&](const CartridgeView& view) { return view.address == element.address; });
    row.cartridge = found == cartridges.end() ? nullptr : &*found;
    rows.push_back(std::move(row));
  }
  return rows;
}

ResultSet ElementsForPrograms(const std::vector<ElementRow>& elements) {
  ResultSet rows{.columns = {{"element", "nvarchar(16)"},
                             {"address", "int"},
                             {"state", "nvarchar(32)"},
                             {"process", "int"},
                             {"barcode", "nvarchar(32)"},
                             {"source", "nvarchar(16)"},
                             {"used_bytes", "bigint"},
                             {"capacity_bytes", "bigint"}}};
  for (const ElementRow& row : elements) {
    Row values{TapePlaceName(row.element.address), std::to_string(row.element.address), row.state,
               row.process == 0 ? std::nullopt : std::optional(std::to_string(row.process))};
    if (row.cartridge == nullptr) {
      values.insert(values.end(), 4, std::nullopt);
    } else {
      values.emplace_back(row.element.barcode);
      values.push_back(row.element.source_address == 0
                           ? std::nullopt
                           : std::optional(TapePlaceName(row.element.source_address)));
      values.emplace_back(std::to_string(row.cartridge->used_bytes));
      values.emplace_back(std::to_string(row.cartridge->record.capacity_bytes));
    }
    rows.rows.push_back(std::move(values));
  }
  return rows;
}

ResultSet ElementsForPeople(const std::vector<ElementRow>& elements) {
  ResultSet rows{.columns = {{"element", "nvarchar(16)"},
                             {"cartridge", "nvarchar(32)"},
                             {"used", "int"},
                             {"capacity", "int"},
                             {"state", "nvarchar(64)"}}};
  for (const ElementRow& row : elements) {
    std::string state = row.state;
    if (row.cartridge != nullptr && row.element.kind != tape::ElementKind::kDrive) {
      state = StateName(*row.cartridge);
    }
    if (row.process != 0) {
      state += fmt::format(", process {}", row.process);
    }
    const bool full = row.cartridge != nullptr;
    rows.rows.push_back({TapePlaceName(row.element.address), row.element.barcode,
                         full ? FormatBytes(row.cartridge->used_bytes) : "",
                         full ? FormatBytes(row.cartridge->record.capacity_bytes) : "",
                         std::move(state)});
  }
  return rows;
}

void Print(Console& console, const ResultSet& people, const ResultSet& programs,
           OutputFormat format) {
  console.Out(format == OutputFormat::kJson ? FormatJson(programs) : FormatTable(people));
}

}  // namespace

std::string TapePlaceName(std::uint32_t address) {
  return address == 0 ? "outside" : tape::ElementName(address);
}

ExitStatus RunTapeList(Session& session, const TapeViewOptions& options) {
  EmulatedLibrary library;
  std::vector<CartridgeView> cartridges;
  Failure failure = EmulatedLibrary::Open(options.directory, &library);
  if (!failure.failed()) {
    failure = library.List(&cartridges);
  }
  if (failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  Print(session.console, CartridgesForPeople(cartridges), CartridgesForPrograms(cartridges),
        options.format);
  return ExitStatus::kDone;
}

ExitStatus RunTapeShow(Session& session, const TapeViewOptions& options) {
  EmulatedLibrary library;
  std::vector<CartridgeView> cartridges;
  std::vector<tape::Element> elements;
  std::vector<tape::DriveView> drives;
  Failure failure = EmulatedLibrary::Open(options.directory, &library);
  if (!failure.failed()) {
    failure = library.List(&cartridges);
  }
  if (!failure.failed()) {
    failure = library.Inventory(&elements);
  }
  if (!failure.failed()) {
    failure = library.Drives(&drives);
  }
  if (failure.failed()) {
    return ReportTapeFailure(session.console, failure);
  }
  const std::vector<ElementRow> rows = ElementRows(elements, drives, cartridges);
  Print(session.console, ElementsForPeople(rows), ElementsForPrograms(rows), options.format);
  return ExitStatus::kDone;
}

}  // namespace capstan::cli
