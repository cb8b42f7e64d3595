#include "plugins/tape/emulator/library_records.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <sstream>
#include <string_view>
#include <type_traits>

// Errors as values, not as exceptions.
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "plugins/tape/emulator/generation.h"

namespace capstan::tape {
namespace {

constexpr std::size_t kBarcodeSizeMax = 16;

// Reads one table; remembers what first went wrong.
class TableReader {
 public:
  TableReader(const toml::table& table, std::string path) : table_(table), path_(std::move(path)) {}

  template <typename T>
  void Read(std::string_view key, T* value) {
    known_.push_back(key);
    const toml::node* const node = table_.get(key);
    if (node == nullptr || failure_.failed()) {
      return;
    }
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      const std::optional<std::int64_t> number = node->value_exact<std::int64_t>();
      const auto max = static_cast<std::uint64_t>(std::numeric_limits<T>::max());
      if (!number || *number < 0 || static_cast<std::uint64_t>(*number) > max) {
        Complain(key, *node, "is no number that fits");
        return;
      }
      *value = static_cast<T>(*number);
    } else {
      const std::optional<T> read = node->value<T>();
      if (!read) {
        Complain(key, *node, "has a value of another type");
        return;
      }
      *value = *read;
    }
  }

  // REQUIRES: everything that may be there was read.
  Failure Finish() {
    for (const auto& [key, node] : table_) {
      if (std::find(known_.begin(), known_.end(), key.str()) == known_.end()) {
        Complain(key.str(), node, "is unknown");
      }
    }
    return failure_;
  }

  const toml::table* Below(std::string_view key) {
    known_.push_back(key);
    return table_[key].as_table();
  }

 private:
  void Complain(std::string_view key, const toml::node& node, const char* what) {
    if (!failure_.failed()) {
      failure_ = {.os_error = EINVAL,
                  .message = "'" + std::string(key) + "' in line " +
                             std::to_string(node.source().begin.line) + " of '" + path_ + "' " +
                             what};
    }
  }

  const toml::table& table_;
  std::string path_;
  std::vector<std::string_view> known_;
  Failure failure_;
};

Failure Parse(const std::string& text, const std::string& path, toml::table* table) {
  toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return {.os_error = EINVAL,
            .message = "'" + path + "' is no TOML: " + std::string(parsed.error().description()) +
                       " in line " + std::to_string(parsed.error().source().begin.line)};
  }
  *table = std::move(parsed).table();
  return {};
}

std::int64_t Signed(std::uint64_t number) {
  return static_cast<std::int64_t>(number);
}

std::string Format(const toml::table& table) {
  std::ostringstream out;
  out << table << '\n';
  return std::move(out).str();
}

constexpr std::string_view kThreadings[] = {"inserted", "loaded", "ejected"};

Failure BadElement(const std::string& path) {
  return {.os_error = EINVAL, .message = "an element in '" + path + "' is damaged"};
}

Failure ParseElement(const toml::node& node, const std::string& path, LibraryState* state) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) {
    return BadElement(path);
  }
  TableReader reader(*table, path);
  std::uint32_t address = 0;
  StoredElement element;
  std::string threading(kThreadings[0]);
  reader.Read("address", &address);
  reader.Read("barcode", &element.barcode);
  reader.Read("source", &element.source_address);
  reader.Read("threading", &threading);
  if (Failure failure = reader.Finish(); failure.failed()) {
    return failure;
  }
  const auto* const found = std::find(std::begin(kThreadings), std::end(kThreadings), threading);
  if (found == std::end(kThreadings) || CheckBarcode(element.barcode).failed()) {
    return BadElement(path);
  }
  element.threading = static_cast<Threading>(found - std::begin(kThreadings));
  state->full[address] = std::move(element);
  return {};
}

Failure ParseWear(const toml::node& node, const std::string& path, LibraryState* state) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) {
    return BadElement(path);
  }
  TableReader reader(*table, path);
  std::uint32_t index = 0;
  DriveWear wear;
  reader.Read("index", &index);
  reader.Read("bytes_since_cleaning", &wear.bytes_since_cleaning);
  reader.Read("loads_since_cleaning", &wear.loads_since_cleaning);
  reader.Read("cleaning_needed", &wear.cleaning_needed);
  state->wear[index] = wear;
  return reader.Finish();
}

}  // namespace

Failure ParseParameters(const std::string& text, const std::string& path,
                        LibraryParameters* parameters) {
  toml::table table;
  if (Failure failure = Parse(text, path, &table); failure.failed()) {
    return failure;
  }
  TableReader reader(table, path);
  reader.Read("generation", &parameters->generation);
  reader.Read("drives", &parameters->drives);
  reader.Read("slots", &parameters->slots);
  reader.Read("ports", &parameters->ports);
  reader.Read("capacity_bytes", &parameters->capacity_bytes);
  reader.Read("early_warning_bytes", &parameters->early_warning_bytes);
  reader.Read("block_size_max", &parameters->block_size_max);
  reader.Read("fixed_block_size", &parameters->fixed_block_size);
  reader.Read("time_model", &parameters->time_model);
  reader.Read("clock_scale", &parameters->clock_scale);
  reader.Read("cleaning_after_bytes", &parameters->cleaning_after_bytes);
  reader.Read("cleaning_after_loads", &parameters->cleaning_after_loads);
  if (Failure failure = reader.Finish(); failure.failed()) {
    return failure;
  }
  Failure failure = CheckParameters(*parameters);
  if (failure.failed()) {
    failure.message = "in '" + path + "' " + failure.message;
  }
  return failure;
}

std::string FormatParameters(const LibraryParameters& parameters) {
  return Format(toml::table{
      {"generation", parameters.generation},
      {"drives", parameters.drives},
      {"slots", parameters.slots},
      {"ports", parameters.ports},
      {"capacity_bytes", Signed(parameters.capacity_bytes)},
      {"early_warning_bytes", Signed(parameters.early_warning_bytes)},
      {"block_size_max", parameters.block_size_max},
      {"fixed_block_size", parameters.fixed_block_size},
      {"time_model", parameters.time_model},
      {"clock_scale", parameters.clock_scale},
      {"cleaning_after_bytes", Signed(parameters.cleaning_after_bytes)},
      {"cleaning_after_loads", Signed(parameters.cleaning_after_loads)},
  });
}

std::uint64_t EarlyWarningBytes(const LibraryParameters& parameters) {
  constexpr std::uint64_t kMin = 4U << 20U;
  return parameters.early_warning_bytes > 0 ? parameters.early_warning_bytes
                                            : std::max(kMin, parameters.capacity_bytes / 1'000);
}

Failure CheckParameters(const LibraryParameters& parameters) {
  const auto invalid = [](std::string message, std::string hint) {
    return Failure{.os_error = EINVAL, .message = std::move(message), .hint = std::move(hint)};
  };
  if (FindGeneration(parameters.generation) == nullptr) {
    return invalid("there is no generation '" + parameters.generation + "'",
                   "generations are " + GenerationNames());
  }
  if (!parameters.time_model.empty()) {
    const Generation* const model = FindGeneration(parameters.time_model);
    if (model == nullptr || model->times.locate_average_s <= 0) {
      return invalid("there is no time model '" + parameters.time_model + "'",
                     "there are models of LTO-5 to LTO-9");
    }
  }
  if (parameters.drives < 1 || parameters.drives > 64 || parameters.slots < 1 ||
      parameters.slots > 4096 || parameters.ports > 64) {
    return invalid("the number of drives, slots or ports is out of its limits",
                   "drives: 1 to 64, slots: 1 to 4096, ports: 0 to 64");
  }
  if (parameters.block_size_max < 1024 || parameters.block_size_max > 8U << 20U ||
      parameters.fixed_block_size > parameters.block_size_max) {
    return invalid("the size of blocks is out of its limits", "1 KiB to 8 MiB");
  }
  if (!(parameters.clock_scale >= 0 && parameters.clock_scale <= 1)) {
    return invalid("clock_scale is out of its limits", "0 to 1");
  }
  return {};
}

Failure ParseCartridge(const std::string& text, const std::string& path, CartridgeRecord* record) {
  toml::table table;
  if (Failure failure = Parse(text, path, &table); failure.failed()) {
    return failure;
  }
  TableReader reader(table, path);
  bool cleaning = false;
  reader.Read("barcode", &record->barcode);
  reader.Read("cleaning", &cleaning);
  reader.Read("generation", &record->generation);
  reader.Read("capacity_bytes", &record->capacity_bytes);
  reader.Read("worm", &record->worm);
  reader.Read("write_protected", &record->write_protected);
  reader.Read("load_count", &record->load_count);
  reader.Read("bytes_written", &record->bytes_written);
  reader.Read("recorded_bytes", &record->recorded_bytes);
  reader.Read("cleanings_left", &record->cleanings_left);
  record->kind = cleaning ? CartridgeKind::kCleaning : CartridgeKind::kData;
  if (const toml::table* const notes = reader.Below("notes"); notes != nullptr) {
    for (const auto& [key, node] : *notes) {
      record->notes[std::string(key.str())] = node.value_or(std::string());
    }
  }
  if (Failure failure = reader.Finish(); failure.failed()) {
    return failure;
  }
  if (FindGeneration(record->generation) == nullptr) {
    return {.os_error = EINVAL,
            .message = "'" + path + "' names no generation",
            .hint = "generations are " + GenerationNames()};
  }
  return CheckBarcode(record->barcode);
}

std::string FormatCartridge(const CartridgeRecord& record) {
  toml::table table{
      {"barcode", record.barcode},
      {"cleaning", record.kind == CartridgeKind::kCleaning},
      {"generation", record.generation},
      {"capacity_bytes", Signed(record.capacity_bytes)},
      {"worm", record.worm},
      {"write_protected", record.write_protected},
      {"load_count", Signed(record.load_count)},
      {"bytes_written", Signed(record.bytes_written)},
      {"recorded_bytes", Signed(record.recorded_bytes)},
      {"cleanings_left", record.cleanings_left},
  };
  toml::table notes;
  for (const auto& [key, value] : record.notes) {
    notes.insert(key, value);
  }
  table.insert("notes", std::move(notes));
  return Format(table);
}

Failure ParseState(const std::string& text, const std::string& path, LibraryState* state) {
  toml::table table;
  if (Failure failure = Parse(text, path, &table); failure.failed()) {
    return failure;
  }
  if (const toml::array* const elements = table["element"].as_array(); elements != nullptr) {
    for (const toml::node& node : *elements) {
      if (Failure failure = ParseElement(node, path, state); failure.failed()) {
        return failure;
      }
    }
  }
  if (const toml::array* const drives = table["drive"].as_array(); drives != nullptr) {
    for (const toml::node& node : *drives) {
      if (Failure failure = ParseWear(node, path, state); failure.failed()) {
        return failure;
      }
    }
  }
  return {};
}

std::string FormatState(const LibraryState& state) {
  toml::array elements;
  for (const auto& [address, element] : state.full) {
    elements.push_back(toml::table{
        {"address", address},
        {"barcode", element.barcode},
        {"source", element.source_address},
        {"threading", kThreadings[static_cast<std::size_t>(element.threading)]},
    });
  }
  toml::array drives;
  for (const auto& [index, wear] : state.wear) {
    drives.push_back(toml::table{
        {"index", index},
        {"bytes_since_cleaning", Signed(wear.bytes_since_cleaning)},
        {"loads_since_cleaning", Signed(wear.loads_since_cleaning)},
        {"cleaning_needed", wear.cleaning_needed},
    });
  }
  return Format(toml::table{{"element", std::move(elements)}, {"drive", std::move(drives)}});
}

Failure CheckBarcode(const std::string& barcode) {
  const bool good = std::all_of(barcode.begin(), barcode.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
  if (!good || barcode.empty() || barcode.size() > kBarcodeSizeMax) {
    return {.os_error = EINVAL,
            .message = "'" + barcode + "' is no barcode",
            .hint =
                "a barcode is 1 to 16 characters of A-Z, 0-9, '-' and '_', for example "
                "'CAP001L8'"};
  }
  return {};
}

}  // namespace capstan::tape
