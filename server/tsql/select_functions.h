// T-SQL's functions, date parts, types and conversion styles in SQLite's words, as tables.
//
// Arguments and results are SQLite text. Nothing outside these tables reaches SQLite, so a SELECT
// cannot call what SQLite has and T-SQL has not. Threads: any.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace capstan::tsql {

enum class FunctionKind {
  kScalar,
  kAggregate,  // may have DISTINCT and OVER
  kRanking,    // must have OVER
};

struct FunctionSpec {
  std::string_view name;
  std::size_t arguments_min;
  std::size_t arguments_max;
  // $1, $2, ... stand for arguments; $* for all of them with commas between.
  std::string_view sqlite;
  bool gives_text = false;
  FunctionKind kind = FunctionKind::kScalar;
  bool passes_text = false;  // gives text if an argument is text
};

// Null if T-SQL has no such function, or Capstan does not know it.
const FunctionSpec* FindFunction(std::string_view name);
// REQUIRES: as many arguments as the function takes
std::string CallFunction(const FunctionSpec& spec, const std::vector<std::string>& arguments);

// nullopt if the part is unknown. Months and years keep to the end of shorter months.
std::optional<std::string> DateAdd(std::string_view part, std::string_view number,
                                   std::string_view date);
// Counts the borders crossed between the two, as T-SQL does.
std::optional<std::string> DateDiff(std::string_view part, std::string_view from,
                                    std::string_view to);
std::optional<std::string> DatePart(std::string_view part, std::string_view date);

// decimal(12, 2): name and what stands in the parentheses; "max" counts as no size.
struct TypeName {
  std::string name;
  std::optional<int> size;
  std::optional<int> scale;
};
struct Conversion {
  std::string sqlite;
  bool gives_text = false;
};
// nullopt if there is no such type.
std::optional<Conversion> ConvertTo(const TypeName& type, std::string_view value);
// The strftime format of CONVERT's date style, for example 120; nullopt if it is not supported.
std::optional<std::string_view> DateStyle(int style);

}  // namespace capstan::tsql
