#include "tools/capstan/media_view.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "tools/capstan/row_reader.h"
#include "tools/capstan/table_printer.h"
#include "tools/capstan/units.h"
#include "tools/client/text_width.h"

namespace capstan::cli {
namespace {

constexpr std::size_t kBarCells = 70;
constexpr int kLineCells = 80;

constexpr char kOfMedium = '=';
constexpr char kUnfinished = '~';
constexpr char kUnused = '.';
constexpr char kVoid = '-';
constexpr char kDamaged = '!';

struct Piece {
  std::string kind;
  std::optional<std::uint64_t> offset, size, position, frames, payload_bytes, stored_bytes;
  std::string name, database, type, date, state;
};

Piece PieceOf(const RowReader& row) {
  return {.kind = row.Text("Kind"),
          .offset = row.Unsigned("Offset"),
          .size = row.Unsigned("Size"),
          .position = row.Unsigned("Position"),
          .frames = row.Unsigned("Frames"),
          .payload_bytes = row.Unsigned("PayloadBytes"),
          .stored_bytes = row.Unsigned("StoredBytes"),
          .name = row.Text("Name"),
          .database = row.Text("DatabaseName"),
          .type = row.Text("BackupTypeDescription"),
          .date = row.Text("Date"),
          .state = row.Text("State")};
}

std::vector<Piece> PiecesOf(const ResultSet& map) {
  std::vector<Piece> pieces;
  for (const Row& row : map.rows) {
    pieces.push_back(PieceOf(RowReader(map, row)));
  }
  return pieces;
}

bool IsWrong(const Piece& piece) {
  return piece.kind == "damage" || piece.kind == "unfinished set" || piece.kind == "hole";
}

// All pieces of a backup set.
struct Set {
  Piece first;
  std::optional<std::uint64_t> size, frames, payload_bytes, stored_bytes;
  std::string state;
};

void AddTo(std::optional<std::uint64_t>* sum, const std::optional<std::uint64_t>& value) {
  if (value) {
    *sum = sum->value_or(0) + *value;
  }
}

std::map<std::uint64_t, Set> SetsOf(const std::vector<Piece>& pieces) {
  std::map<std::uint64_t, Set> sets;
  for (const Piece& piece : pieces) {
    if (!piece.position) {
      continue;
    }
    const auto [found, is_new] = sets.try_emplace(*piece.position);
    Set& set = found->second;
    if (is_new) {
      set.first = piece;
    }
    AddTo(&set.size, piece.size);
    AddTo(&set.frames, piece.frames);
    AddTo(&set.payload_bytes, piece.payload_bytes);
    AddTo(&set.stored_bytes, piece.stored_bytes);
    if (piece.kind == "damage") {
      set.state = "damaged";
    } else if (piece.kind == "unfinished set" && set.state.empty()) {
      set.state = "unfinished";
    }
  }
  return sets;
}

char LetterOf(std::uint64_t position) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  return kLetters[(position - 1) % kLetters.size()];
}

char LetterOf(const Piece& piece) {
  if (piece.kind == "damage") {
    return kDamaged;
  }
  if (piece.kind == "unfinished set") {
    return kUnfinished;
  }
  if (piece.kind == "hole" || piece.kind == "free") {
    return kUnused;
  }
  if (piece.kind == "void frames") {
    return kVoid;
  }
  return piece.position.value_or(0) > 0 ? LetterOf(*piece.position) : kOfMedium;
}

// What has most bytes of a cell is seen in it; damage is, however small.
char CellOf(const std::vector<Piece>& pieces, double begin, double end) {
  std::map<char, double> bytes;
  for (const Piece& piece : pieces) {
    if (piece.offset && piece.size) {
      const auto from = static_cast<double>(*piece.offset);
      const double to = from + static_cast<double>(*piece.size);
      bytes[LetterOf(piece)] += std::max(0.0, std::min(end, to) - std::max(begin, from));
    }
  }
  if (bytes[kDamaged] > 0) {
    return kDamaged;
  }
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most->second > 0 ? most->first : kUnused;
}

std::string Bar(const std::vector<Piece>& pieces, std::uint64_t medium_size) {
  std::string cells;
  const double cell = static_cast<double>(medium_size) / kBarCells;
  for (std::size_t i = 0; i < kBarCells; ++i) {
    cells += CellOf(pieces, cell * static_cast<double>(i), cell * static_cast<double>(i + 1));
  }
  return fmt::format("  [{}]\n", cells);
}

std::string Legend(const std::vector<Piece>& pieces, const std::map<std::uint64_t, Set>& sets) {
  std::string text = "  = header";
  int width = DisplayWidth(text);
  const auto add = [&](const std::string& entry) {
    const bool fits = width + 3 + DisplayWidth(entry) <= kLineCells;
    text += (fits ? "   " : "\n  ") + entry;
    width = (fits ? width + 3 : 2) + DisplayWidth(entry);
  };
  for (const auto& [position, set] : sets) {
    add(fmt::format("{} set {}", LetterOf(position), position));
  }
  for (const auto& [letter, meaning] :
       {std::pair{kUnfinished, "unfinished"}, std::pair{kUnused, "not used"},
        std::pair{kVoid, "void"}, std::pair{kDamaged, "damaged"}}) {
    if (std::any_of(pieces.begin(), pieces.end(),
                    [wanted = letter](const Piece& p) { return LetterOf(p) == wanted; })) {
      add(fmt::format("{} {}", letter, meaning));
    }
  }
  return text + "\n";
}

std::string TypeName(const std::string& description) {
  if (description == "Database") {
    return "full";
  }
  if (description == "Database Differential") {
    return "diff";
  }
  return description == "Transaction Log" ? "log" : Printable(description);
}

std::string OrDash(const std::string& text) {
  return text.empty() ? "-" : Printable(text);
}
std::string BytesOrDash(const std::optional<std::uint64_t>& bytes) {
  return bytes ? FormatBytes(*bytes) : "-";
}

// How many bytes of the database one byte of the medium holds.
std::string Ratio(const Set& set) {
  if (!set.payload_bytes || set.stored_bytes.value_or(0) == 0) {
    return "-";
  }
  return fmt::format(
      "{:.1f}", static_cast<double>(*set.payload_bytes) / static_cast<double>(*set.stored_bytes));
}

std::string StateOf(const Set& set) {
  const std::string state = set.state.empty() ? "complete" : set.state;
  const bool told = set.first.kind == "set head" || set.first.kind == "foreign set";
  const std::string more = told ? Printable(set.first.state) : "";
  return more.empty() ? state : state + ", " + more;
}

std::string SetTable(const std::map<std::uint64_t, Set>& sets) {
  // What is numeric stands to the right.
  ResultSet table{.columns = {{"set", "nvarchar"},
                              {"database", "nvarchar"},
                              {"type", "nvarchar"},
                              {"date", "nvarchar"},
                              {"offset", "decimal"},
                              {"size", "decimal"},
                              {"frames", "decimal"},
                              {"ratio", "decimal"},
                              {"state", "nvarchar"}},
                  .rows = {}};
  for (const auto& [position, set] : sets) {
    constexpr std::size_t kToTheMinute = 16;
    table.rows.push_back(
        {fmt::format("{} {}", LetterOf(position), position), OrDash(set.first.database),
         OrDash(TypeName(set.first.type)), OrDash(set.first.date.substr(0, kToTheMinute)),
         BytesOrDash(set.first.offset), BytesOrDash(set.size),
         set.frames ? fmt::format("{}", *set.frames) : "-", Ratio(set), StateOf(set)});
  }
  return FormatTable(table);
}

std::string Advice(const Piece& piece, const std::string& device) {
  if (piece.kind == "unfinished set") {
    return "that backup did not end; the next one to this medium takes its place";
  }
  if (piece.kind == "hole") {
    return "a backup did not come to be written here; the next one to this medium takes its place";
  }
  if (piece.position) {
    return fmt::format("'capstan verify --from {} --file {}' says what of the set is lost", device,
                       *piece.position);
  }
  return "the sets before it can be restored; nothing can be appended, so back up to another "
         "medium";
}

// Each thing that is wrong, and, once per advice, what to do.
std::string Findings(const std::vector<Piece>& pieces, const std::string& device) {
  std::string text, last_advice;
  for (const Piece& piece : pieces) {
    if (!IsWrong(piece)) {
      continue;
    }
    std::string line = piece.kind;
    line += piece.position ? fmt::format(", set {}", *piece.position) : "";
    line += piece.offset ? fmt::format(", at byte {}", *piece.offset) : "";
    line += piece.size ? fmt::format(", {}", FormatBytes(*piece.size)) : "";
    line += piece.frames ? fmt::format(", {} frames", *piece.frames) : "";
    line += piece.state.empty() ? "" : ": " + Printable(piece.state);
    const std::string advice = Advice(piece, Printable(device));
    if (!last_advice.empty() && advice != last_advice) {
      text += fmt::format("HINT: {}\n", last_advice);
    }
    last_advice = advice;
    text += line + "\n";
  }
  return last_advice.empty() ? text : text + fmt::format("HINT: {}\n", last_advice);
}

std::string BlockTable(const ResultSet& map) {
  constexpr std::array kColumns = std::to_array<ColumnView>({{"Offset", "at byte"},
                                                             {"Size", "bytes"},
                                                             {"Kind", "what"},
                                                             {"Position", "set"},
                                                             {"Frames", "frames"},
                                                             {"PayloadBytes", "payload"},
                                                             {"StoredBytes", "stored"},
                                                             {"State", "holds"}});
  return FormatTable(Laid(map, kColumns));
}

std::string Title(const Piece& header, const std::string& device,
                  const std::optional<std::uint64_t>& size) {
  std::string line = Printable(device);
  line += size ? fmt::format("  {}", FormatBytes(*size)) : "";
  line += header.name.empty() ? "" : fmt::format("  \"{}\"", Printable(header.name));
  line += header.date.empty() ? "" : fmt::format("  {}", Printable(header.date.substr(0, 19)));
  return line + "\n" + (header.state.empty() ? "" : Printable(header.state) + "\n");
}

}  // namespace

bool IsSound(const ResultSet& map) {
  const std::vector<Piece> pieces = PiecesOf(map);
  return std::none_of(pieces.begin(), pieces.end(), IsWrong);
}

std::string DrawMedium(const ResultSet& map, bool with_blocks) {
  if (map.rows.empty()) {
    return "";
  }
  const RowReader first(map, map.rows.front());
  const std::string device = first.Text("Device");
  const std::optional<std::uint64_t> size = first.Unsigned("MediumSize");
  const std::vector<Piece> pieces = PiecesOf(map);
  const std::map<std::uint64_t, Set> sets = SetsOf(pieces);

  std::string text = Title(pieces.front(), device, size) + "\n";
  const bool placed = size.value_or(0) > 0 && pieces.front().offset.has_value();
  text += placed ? Bar(pieces, *size) + Legend(pieces, sets)
                 : "  Where its sets stand is not known without reading all of it.\n";
  text += sets.empty() ? "\nThere is no backup set on it.\n" : "\n" + SetTable(sets);
  if (with_blocks) {
    text += "\n" + BlockTable(map);
  }
  const std::string findings = Findings(pieces, device);
  return text + (findings.empty() ? "" : "\n" + findings) + "\n";
}

}  // namespace capstan::cli
