#include "server/coordinator/media_map_table.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "server/catalog/timestamps.h"
#include "server/coordinator/set_facts.h"
#include "vdi/base/check.h"

namespace capstan::coordinator {
namespace {

using Cell = std::optional<std::string>;
using media::MapPiece;
using media::PieceKind;

const char* KindName(PieceKind kind) {
  switch (kind) {
    case PieceKind::kHeader:
      return "header";
    case PieceKind::kFilemark:
      return "filemark";
    case PieceKind::kSetHead:
      return "set head";
    case PieceKind::kFrames:
      return "frames";
    case PieceKind::kVoidFrames:
      return "void frames";
    case PieceKind::kSetEnd:
      return "set end";
    case PieceKind::kUnfinishedSet:
      return "unfinished set";
    case PieceKind::kForeignSet:
      return "foreign set";
    case PieceKind::kHole:
      return "hole";
    case PieceKind::kFree:
      return "free";
    case PieceKind::kDamage:
      return "damage";
  }
  CAPSTAN_CHECK(false);
}

Cell Number(const std::optional<std::uint64_t>& value) {
  return value ? Cell(fmt::format("{}", *value)) : std::nullopt;
}

Cell OrNull(const std::string& text) {
  return text.empty() ? Cell() : Cell(text);
}

void AddWord(std::string_view word, std::string* text) {
  *text += text->empty() ? "" : ", ";
  *text += word;
}

// Another program's medium need not say to which set of families it belongs.
std::string HeaderState(const media::MediaHeader& header) {
  std::string text;
  if (!header.by_other_program || !header.media_set_id.is_zero()) {
    text = fmt::format("media set {}, family {} of {}", header.media_set_id.ToString(),
                       header.family_number, header.family_count);
  }
  if (header.media_sequence_number > 1) {
    AddWord(fmt::format("medium {}", header.media_sequence_number), &text);
  }
  if (header.mirror_count > 1) {
    AddWord(fmt::format("{} mirrors", header.mirror_count), &text);
  }
  if (header.compressed) {
    AddWord("compressed", &text);
  }
  if (header.encrypted) {
    AddWord("encrypted", &text);
  }
  if (header.by_other_program) {
    AddWord(fmt::format("written by {}", header.software_name), &text);
  }
  return text;
}

std::string SetState(const media::SetListing& set) {
  std::string text;
  if (set.continued) {
    AddWord("began on an earlier medium", &text);
  }
  if (set.continues) {
    AddWord("goes on on the next medium", &text);
  }
  if (set.set.is_damaged) {
    AddWord("made in spite of errors", &text);
  }
  if (set.set.is_snapshot) {
    AddWord("snapshot", &text);
  }
  if (set.set.compressed()) {
    AddWord(set.set.compression_algorithm, &text);
  }
  if (set.set.encrypted()) {
    AddWord(set.set.encryption.key_algorithm, &text);
  }
  return text;
}

// What the frames of a run hold: "sales, pages 0 to 127", of a file without pages bytes.
std::string RangeText(const media::FileRange& range, const media::BackupSet& set) {
  if (range.file_index >= set.files.size() || range.end <= range.begin) {
    return "";
  }
  const media::BackupFile& file = set.files[range.file_index];
  const std::uint64_t unit = file.page_size == 0 ? 1 : file.page_size;
  return fmt::format("{}, {} {} to {}", file.logical_name, unit == 1 ? "bytes" : "pages",
                     range.begin / unit, (range.end - 1) / unit);
}

std::string StateText(const MapPiece& piece, const media::MediumMap& map) {
  if (piece.kind == PieceKind::kHeader) {
    return HeaderState(map.listing.header);
  }
  std::string text = piece.remark;
  if (piece.set && piece.range) {
    AddWord(RangeText(*piece.range, map.listing.sets[*piece.set].set), &text);
  }
  const bool tells = piece.kind == PieceKind::kSetHead || piece.kind == PieceKind::kForeignSet;
  if (const std::string state = piece.set && tells ? SetState(map.listing.sets[*piece.set]) : "";
      !state.empty()) {
    AddWord(state, &text);
  }
  return text;
}

// Of a piece that belongs to no set, the medium's.
media::SetFacts FactsOfPiece(const MapPiece& piece, const media::MediumMap& map) {
  if (piece.set) {
    const media::SetListing& set = map.listing.sets[*piece.set];
    return set.foreign_set && set.foreign_set->password_protected
               ? media::SetFacts{.name = "***Password Protected***"}
               : FactsOf(set);
  }
  media::SetFacts facts;
  if (piece.kind == PieceKind::kHeader) {
    const media::MediaHeader& header = map.listing.header;
    facts.name = OrNull(header.name);
    facts.start_date = header.by_other_program ? OrNull(header.local_date)
                                               : catalog::LocalDateTime(header.date_unix_s);
  }
  return facts;
}

}  // namespace

catalog::Table EmptyMediaMapTable() {
  return {.columns = {{"Device", "nvarchar(260)"},
                      {"MediumSize", "bigint"},
                      {"Kind", "nvarchar(20)"},
                      {"Offset", "bigint"},
                      {"Size", "bigint"},
                      {"Position", "smallint"},
                      {"Name", "nvarchar(128)"},
                      {"DatabaseName", "nvarchar(128)"},
                      {"BackupTypeDescription", "nvarchar(60)"},
                      {"Date", "datetime"},
                      {"Frames", "bigint"},
                      {"PayloadBytes", "bigint"},
                      {"StoredBytes", "bigint"},
                      {"State", "nvarchar(4000)"}},
          .rows = {}};
}

void AddMediaMap(const std::string& device, const media::MediumMap& map, catalog::Table* table) {
  const std::uint64_t size = map.listing.size_bytes;
  for (const MapPiece& piece : map.pieces) {
    const media::SetFacts facts = FactsOfPiece(piece, map);
    Cell position;
    if (piece.set) {
      position = fmt::format("{}", map.listing.sets[*piece.set].set.position);
    }
    table->rows.push_back({device, size == 0 ? Cell() : Number(size), KindName(piece.kind),
                           Number(piece.offset), Number(piece.size), std::move(position),
                           facts.name, facts.database_name, facts.type_description,
                           facts.start_date, Number(piece.frames), Number(piece.payload_bytes),
                           Number(piece.stored_bytes), OrNull(StateText(piece, map))});
  }
}

}  // namespace capstan::coordinator
