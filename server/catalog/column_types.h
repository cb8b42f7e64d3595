// T-SQL's column types and SQLite's, in both directions.
#pragma once

#include <string>
#include <string_view>

struct sqlite3_stmt;

namespace capstan::catalog {

// How a column of T-SQL type `type` is declared in a table, so that SQLite compares its values as
// T-SQL would. Characters that no type has are left out.
std::string DeclarationOf(std::string_view type);

// The T-SQL type of a result column from its declaration ("numeric_text(25,0)" ->
// "numeric(25,0)"); empty for an expression, which has none.
std::string TypeOfDeclaration(const char* declaration);

// The type of an expression, from the values that it had.
class TypeGuess {
 public:
  // Looks at column `column` of the statement's current row.
  void Add(sqlite3_stmt* row, int column);
  std::string type() const;

 private:
  // In the order in which one value makes a column wider.
  enum class Seen { kNothing, kInt, kBigint, kFloat, kBinary, kText };
  Seen widest_ = Seen::kNothing;
};

}  // namespace capstan::catalog
