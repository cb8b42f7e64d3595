#include "server/tsql/select_functions.h"

#include <fmt/format.h>

#include "server/tsql/keywords.h"
#include "vdi/base/check.h"

namespace capstan::tsql {
namespace {

using enum FunctionKind;

constexpr std::size_t kAnyNumber = 100;

// clang-format off
constexpr FunctionSpec kFunctions[] = {
    {"ABS", 1, 1, "abs($1)"},
    {"AVG", 1, 1, "avg($1)", false, kAggregate},
    {"CHAR", 1, 1, "char($1)", true},
    {"CHARINDEX", 2, 2, "instr($2, $1)"},
    {"COALESCE", 2, kAnyNumber, "coalesce($*)", false, kScalar, true},
    {"COUNT", 1, 1, "count($1)", false, kAggregate},
    {"COUNT_BIG", 1, 1, "count($1)", false, kAggregate},
    {"DATALENGTH", 1, 1, "length(CAST($1 AS BLOB))"},
    {"DAY", 1, 1, "CAST(strftime('%d', $1) AS INTEGER)"},
    {"DENSE_RANK", 0, 0, "dense_rank()", false, kRanking},
    {"GETDATE", 0, 0, "datetime('now', 'localtime')"},
    {"GETUTCDATE", 0, 0, "datetime('now')"},
    {"IIF", 3, 3, "iif($1, $2, $3)", false, kScalar, true},
    {"ISNULL", 2, 2, "ifnull($1, $2)", false, kScalar, true},
    {"LAG", 1, 3, "lag($*)", false, kRanking},
    {"LEAD", 1, 3, "lead($*)", false, kRanking},
    {"LEFT", 2, 2, "substr($1, 1, $2)", true},
    {"LEN", 1, 1, "length(rtrim($1))"},
    {"LOWER", 1, 1, "lower($1)", true},
    {"LTRIM", 1, 1, "ltrim($1)", true},
    {"MAX", 1, 1, "max($1)", false, kAggregate},
    {"MIN", 1, 1, "min($1)", false, kAggregate},
    {"MONTH", 1, 1, "CAST(strftime('%m', $1) AS INTEGER)"},
    {"NULLIF", 2, 2, "nullif($1, $2)"},
    {"RANK", 0, 0, "rank()", false, kRanking},
    {"REPLACE", 3, 3, "replace($1, $2, $3)", true},
    {"RIGHT", 2, 2, "substr($1, -($2), $2)", true},
    {"ROUND", 2, 2, "round($1, $2)"},
    {"ROW_NUMBER", 0, 0, "row_number()", false, kRanking},
    {"RTRIM", 1, 1, "rtrim($1)", true},
    {"SUBSTRING", 3, 3, "substr($1, $2, $3)", true},
    {"SUM", 1, 1, "sum($1)", false, kAggregate},
    {"SYSDATETIME", 0, 0, "datetime('now', 'localtime')"},
    {"SYSUTCDATETIME", 0, 0, "datetime('now')"},
    {"TRIM", 1, 1, "trim($1)", true},
    {"UPPER", 1, 1, "upper($1)", true},
    {"YEAR", 1, 1, "CAST(strftime('%Y', $1) AS INTEGER)"},
};

struct DatePartSpec {
  std::string_view names[3];  // the first is the long one
  std::string_view modifier;  // of SQLite's date functions; `factor` of these make one part
  int factor;
  std::string_view count;     // how many parts lie before date $1
  std::string_view value;     // the part of date $1 itself
};

constexpr DatePartSpec kDateParts[] = {
    {{"second", "ss", "s"}, "seconds", 1, "CAST(strftime('%s', $1) AS INTEGER)", "'%S'"},
    {{"minute", "mi", "n"}, "minutes", 1, "CAST(strftime('%s', $1) AS INTEGER) / 60", "'%M'"},
    {{"hour", "hh", "hh"}, "hours", 1, "CAST(strftime('%s', $1) AS INTEGER) / 3600", "'%H'"},
    {{"day", "dd", "d"}, "days", 1, "CAST(julianday($1, 'start of day') + 0.5 AS INTEGER)", "'%d'"},
    {{"month", "mm", "m"}, "months", 1, "(CAST(strftime('%Y', $1) AS INTEGER) * 12 + CAST(strftime('%m', $1) AS INTEGER))", "'%m'"},
    {{"year", "yyyy", "yy"}, "months", 12, "CAST(strftime('%Y', $1) AS INTEGER)", "'%Y'"},
};

struct TypeSpec {
  std::string_view name;
  std::string_view sqlite;  // of value $1
};
constexpr TypeSpec kTypes[] = {
    {"bigint", "CAST($1 AS INTEGER)"},
    {"binary", "CAST($1 AS BLOB)"},
    {"bit", "(($1) <> 0)"},
    {"date", "date($1)"},
    {"datetime", "datetime($1)"},
    {"datetime2", "datetime($1)"},
    {"float", "CAST($1 AS REAL)"},
    {"int", "CAST($1 AS INTEGER)"},
    {"integer", "CAST($1 AS INTEGER)"},
    {"money", "round(CAST($1 AS REAL), 4)"},
    {"real", "CAST($1 AS REAL)"},
    {"smalldatetime", "datetime($1)"},
    {"smallint", "CAST($1 AS INTEGER)"},
    {"time", "time($1)"},
    {"tinyint", "CAST($1 AS INTEGER)"},
    {"varbinary", "CAST($1 AS BLOB)"},
};
constexpr std::string_view kTextTypes[] = {"char",    "nchar",   "nvarchar",
                                           "sysname", "varchar", "uniqueidentifier"};

struct StyleSpec {
  int number;
  std::string_view format;
};
constexpr StyleSpec kStyles[] = {
    {20, "%Y-%m-%d %H:%M:%S"},  {21, "%Y-%m-%d %H:%M:%f"},  {23, "%Y-%m-%d"},
    {101, "%m/%d/%Y"},          {102, "%Y.%m.%d"},          {103, "%d/%m/%Y"},
    {104, "%d.%m.%Y"},          {105, "%d-%m-%Y"},          {108, "%H:%M:%S"},
    {110, "%m-%d-%Y"},          {111, "%Y/%m/%d"},          {112, "%Y%m%d"},
    {120, "%Y-%m-%d %H:%M:%S"}, {121, "%Y-%m-%d %H:%M:%f"}, {126, "%Y-%m-%dT%H:%M:%f"},
};
// clang-format on

// Puts the arguments where the template has $1..$9 and $*.
std::string Expand(std::string_view pattern, const std::vector<std::string>& arguments) {
  std::string text;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '$') {
      text.push_back(pattern[i]);
    } else if (pattern[++i] == '*') {
      text += fmt::format("{}", fmt::join(arguments, ", "));
    } else {
      const auto index = static_cast<std::size_t>(pattern[i] - '1');
      CAPSTAN_CHECK(index < arguments.size());
      text += arguments[index];
    }
  }
  return text;
}

const DatePartSpec* FindDatePart(std::string_view part) {
  for (const DatePartSpec& spec : kDateParts) {
    for (const std::string_view name : spec.names) {
      if (EqualsIgnoreCase(name, part)) {
        return &spec;
      }
    }
  }
  return nullptr;
}

}  // namespace

const FunctionSpec* FindFunction(std::string_view name) {
  for (const FunctionSpec& spec : kFunctions) {
    if (EqualsIgnoreCase(spec.name, name)) {
      return &spec;
    }
  }
  // Variadic, and NULL counts as '': its own shape.
  static constexpr FunctionSpec kConcat{"CONCAT", 2, kAnyNumber, "", true};
  return EqualsIgnoreCase(name, kConcat.name) ? &kConcat : nullptr;
}

std::string CallFunction(const FunctionSpec& spec, const std::vector<std::string>& arguments) {
  CAPSTAN_CHECK(arguments.size() >= spec.arguments_min && arguments.size() <= spec.arguments_max);
  if (!spec.sqlite.empty()) {
    return Expand(spec.sqlite, arguments);
  }
  std::string text;
  for (const std::string& argument : arguments) {
    text += (text.empty() ? "(ifnull(" : " || ifnull(") + argument + ", '')";
  }
  return text + ")";
}

std::optional<std::string> DateAdd(std::string_view part, std::string_view number,
                                   std::string_view date) {
  const DatePartSpec* spec = FindDatePart(part);
  if (spec == nullptr) {
    return std::nullopt;
  }
  if (spec->modifier != "months") {
    return fmt::format("datetime({}, ({}) || ' {}')", date, number, spec->modifier);
  }
  // SQLite rolls 31 January + 1 month over into March; T-SQL stops at the end of February.
  const std::string months = fmt::format("({}) * {}", number, spec->factor);
  return fmt::format(
      "min(datetime({0}, ({1}) || ' months'), date({0}, 'start of month', ({1} + 1) || ' months', "
      "'-1 day') || ' ' || time({0}))",
      date, months);
}

std::optional<std::string> DateDiff(std::string_view part, std::string_view from,
                                    std::string_view to) {
  const DatePartSpec* spec = FindDatePart(part);
  if (spec == nullptr) {
    return std::nullopt;
  }
  return fmt::format("({} - {})", Expand(spec->count, {std::string(to)}),
                     Expand(spec->count, {std::string(from)}));
}

std::optional<std::string> DatePart(std::string_view part, std::string_view date) {
  const DatePartSpec* spec = FindDatePart(part);
  if (spec == nullptr) {
    return std::nullopt;
  }
  return fmt::format("CAST(strftime({}, {}) AS INTEGER)", spec->value, date);
}

std::optional<Conversion> ConvertTo(const TypeName& type, std::string_view value) {
  if (EqualsIgnoreCase(type.name, "decimal") || EqualsIgnoreCase(type.name, "numeric")) {
    const int scale = type.scale.value_or(0);
    return scale > 0 ? Conversion{fmt::format("round(CAST({} AS REAL), {})", value, scale)}
                     : Conversion{fmt::format("CAST(round({}) AS INTEGER)", value)};
  }
  for (const std::string_view name : kTextTypes) {
    if (EqualsIgnoreCase(type.name, name)) {
      std::string text = fmt::format("CAST({} AS TEXT)", value);
      return Conversion{type.size ? fmt::format("substr({}, 1, {})", text, *type.size) : text,
                        true};
    }
  }
  for (const TypeSpec& spec : kTypes) {
    if (EqualsIgnoreCase(type.name, spec.name)) {
      return Conversion{Expand(spec.sqlite, {std::string(value)})};
    }
  }
  return std::nullopt;
}

std::optional<std::string_view> DateStyle(int style) {
  for (const StyleSpec& spec : kStyles) {
    if (spec.number == style) {
      return spec.format;
    }
  }
  return std::nullopt;
}

}  // namespace capstan::tsql
