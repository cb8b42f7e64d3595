#include "server/writers/sqlite/sqlite_schema_rows.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <span>
#include <string>

namespace capstan::writers {
namespace {

using Bytes = std::span<const std::byte>;

// The columns of sqlite_schema.
enum Column { kType, kName, kTableName, kRootPage, kSql, kColumnCount };

constexpr std::size_t kTypeTextMax = 14;  // bytes: "trigger" in UTF-16

// A variable-length integer at `*at`, which moves behind it; nothing if it is cut off.
std::optional<std::uint64_t> TakeVarint(Bytes bytes, std::size_t* at) {
  std::uint64_t value = 0;
  for (int i = 0; i < 9 && *at < bytes.size(); ++i) {
    const auto byte = std::to_integer<std::uint64_t>(bytes[(*at)++]);
    if (i == 8) {
      return value << 8 | byte;
    }
    value = value << 7 | (byte & 0x7F);
    if (byte < 0x80) {
      return value;
    }
  }
  return std::nullopt;
}

// How much of a payload lies on the page of a table leaf.
std::uint64_t LocalSize(std::uint64_t payload, std::uint64_t usable) {
  if (payload <= usable - 35) {
    return payload;
  }
  const std::uint64_t least = (usable - 12) * 32 / 255 - 23;
  const std::uint64_t wanted = least + (payload - least) % (usable - 4);
  return wanted <= usable - 35 ? wanted : least;
}

// The part of a row's payload that lies on the page.
std::optional<Bytes> RowOn(const BtreeBytes& bytes, std::size_t row) {
  const Bytes page = bytes.page.first(bytes.usable_size);
  const std::size_t pointer = bytes.header_offset + 8 + 2 * row;
  std::size_t at = std::to_integer<std::size_t>(page[pointer]) << 8 |
                   std::to_integer<std::size_t>(page[pointer + 1]);
  const auto payload = TakeVarint(page, &at);
  const auto rowid = TakeVarint(page, &at);
  if (!payload || !rowid) {
    return std::nullopt;
  }
  const std::uint64_t local = LocalSize(*payload, page.size());
  if (local > page.size() - at) {
    return std::nullopt;
  }
  return page.subspan(at, local);
}

std::uint64_t SizeOf(std::uint64_t serial_type) {
  constexpr std::array<std::uint64_t, 12> kSizes = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};
  return serial_type < kSizes.size() ? kSizes[serial_type] : (serial_type - 12) / 2;
}

// Text in small letters, whatever its encoding.
std::string Ascii(Bytes text) {
  std::string ascii;
  for (const std::byte byte : text) {
    if (byte != std::byte{0}) {
      ascii += static_cast<char>(std::tolower(std::to_integer<int>(byte)));
    }
  }
  return ascii;
}

struct Row {
  std::array<std::uint64_t, kColumnCount> types{};
  std::array<std::uint64_t, kColumnCount> places{};  // in the payload
  Bytes payload;

  // The bytes of a column; nothing if they are not all on the page.
  std::optional<Bytes> At(Column column) const {
    const std::uint64_t size = SizeOf(types[column]);
    if (places[column] > payload.size() || size > payload.size() - places[column]) {
      return std::nullopt;
    }
    return payload.subspan(places[column], size);
  }
};

// Nothing if it is no row of a schema.
std::optional<Row> ParseRow(Bytes payload) {
  constexpr std::uint64_t kSerialTypeMax = std::uint64_t{1} << 33;  // of 4 GiB: more than any has
  Row row{.types = {}, .places = {}, .payload = payload};
  std::size_t at = 0;
  const auto header_size = TakeVarint(payload, &at);
  if (!header_size || *header_size > payload.size()) {
    return std::nullopt;
  }
  std::uint64_t place = *header_size;
  for (std::size_t i = 0; i < kColumnCount; ++i) {
    const auto type = TakeVarint(payload.first(*header_size), &at);
    if (!type || *type > kSerialTypeMax) {
      return std::nullopt;
    }
    row.types[i] = *type;
    row.places[i] = place;
    place += SizeOf(*type);
  }
  const auto kind = row.At(kType);
  if (!kind || kind->size() > kTypeTextMax || at != *header_size) {
    return std::nullopt;
  }
  const std::string text = Ascii(*kind);
  const bool known = text == "table" || text == "index" || text == "view" || text == "trigger";
  return known ? std::optional(row) : std::nullopt;
}

// As a reader of the schema decides it: a table without rowid is an index.
SqliteRoot::Kind KindOf(const Row& row) {
  if (Ascii(*row.At(kType)) == "index") {
    return SqliteRoot::Kind::kIndex;
  }
  const auto sql = row.At(kSql);
  if (!sql) {
    return SqliteRoot::Kind::kTableOrIndex;
  }
  const std::string text = Ascii(*sql);
  const std::size_t without = text.find("without");
  return without != std::string::npos && text.find("rowid", without) != std::string::npos
             ? SqliteRoot::Kind::kTableOrIndex
             : SqliteRoot::Kind::kTable;
}

// 0 for a view, and for one that is not on the page.
std::uint32_t RootOf(const Row& row) {
  if (row.types[kRootPage] == 9) {
    return 1;
  }
  const auto bytes = row.At(kRootPage);
  std::uint64_t root = 0;
  for (const std::byte byte : bytes.value_or(Bytes())) {
    root = root << 8 | std::to_integer<std::uint64_t>(byte);
  }
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(root, 0xFFFFFFFF));
}

}  // namespace

std::optional<std::vector<SqliteRoot>> SchemaRootsOn(const BtreeBytes& bytes) {
  std::vector<SqliteRoot> roots;
  const std::uint32_t rows = CellCount(bytes);
  for (std::uint32_t i = 0; i < rows; ++i) {
    const auto payload = RowOn(bytes, i);
    const auto row = payload ? ParseRow(*payload) : std::nullopt;
    if (!row && i == 0) {
      return std::nullopt;
    }
    if (const std::uint32_t root = row ? RootOf(*row) : 0; root != 0) {
      roots.push_back({.page = root, .kind = KindOf(*row)});
    }
  }
  return roots;
}

}  // namespace capstan::writers
