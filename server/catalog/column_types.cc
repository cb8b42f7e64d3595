#include "server/catalog/column_types.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <limits>

#include <sqlite3.h>

#include "server/catalog/sqlite_connection.h"

namespace capstan::catalog {
namespace {

constexpr std::string_view kMax = "(max)";
constexpr std::string_view kMaxNumber = "(2147483647)";
constexpr std::string_view kExact = "numeric";
constexpr std::string_view kExactText = "numeric_text";

// numeric(20,0) and wider does not fit SQLite's 64-bit integers.
bool ExceedsInteger(std::string_view type) {
  return type.starts_with("numeric(2") || type.starts_with("numeric(3");
}

}  // namespace

std::string DeclarationOf(std::string_view type) {
  std::string declaration;
  for (const char c : type) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '(' || c == ')' ||
        c == ',') {
      declaration.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
  }
  // SQLite takes numbers only between the brackets.
  if (const auto max = declaration.find(kMax); max != std::string::npos) {
    declaration.replace(max, kMax.size(), kMaxNumber);
  }
  if (ExceedsInteger(declaration)) {
    declaration.replace(0, kExact.size(), kExactText);
    declaration.append(" COLLATE ").append(kDecimalCollation);
  }
  return declaration;
}

std::string TypeOfDeclaration(const char* declaration) {
  std::string type = declaration != nullptr ? declaration : "";
  std::transform(type.begin(), type.end(), type.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (const auto max = type.find(kMaxNumber); max != std::string::npos) {
    type.replace(max, kMaxNumber.size(), kMax);
  }
  if (type.starts_with(kExactText)) {
    type.replace(0, kExactText.size(), kExact);
  }
  return type == "integer" ? "int" : type;
}

void TypeGuess::Add(sqlite3_stmt* row, int column) {
  Seen seen = Seen::kNothing;
  switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER: {
      const std::int64_t value = sqlite3_column_int64(row, column);
      const bool fits = value >= std::numeric_limits<std::int32_t>::min() &&
                        value <= std::numeric_limits<std::int32_t>::max();
      seen = fits ? Seen::kInt : Seen::kBigint;
      break;
    }
    case SQLITE_FLOAT:
      seen = Seen::kFloat;
      break;
    case SQLITE_BLOB:
      seen = Seen::kBinary;
      break;
    case SQLITE_TEXT:
      seen = Seen::kText;
      break;
    default:
      break;
  }
  widest_ = std::max(widest_, seen);
}

std::string TypeGuess::type() const {
  switch (widest_) {
    case Seen::kNothing:
      break;
    case Seen::kInt:
      return "int";
    case Seen::kBigint:
      return "bigint";
    case Seen::kFloat:
      return "float";
    case Seen::kBinary:
      return "varbinary(8000)";
    case Seen::kText:
      return "nvarchar(4000)";
  }
  return "sql_variant";
}

}  // namespace capstan::catalog
