// One SELECT of T-SQL, rewritten in SQLite's dialect while it is parsed.
//
// Recursive descent over queries (select_translator.cc) and expressions (expression_translator.cc).
// What is not in the grammar is an error here and never reaches SQLite: tables come from
// object_names.h, functions from select_functions.h, and every other name is quoted.
// Limits: TOP takes a whole number; no PERCENT, WITH TIES, OFFSET, APPLY, PIVOT or FOR.
// Threads: one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/tsql/select_functions.h"
#include "server/tsql/statement.h"
#include "server/tsql/token_stream.h"

namespace capstan::tsql {

// A piece of SQLite text and what is known about it.
struct Sql {
  std::string text;
  bool is_text = false;    // gives a string, so that + next to it means concatenation
  bool is_column = false;  // is a plain column, which keeps its name in the result
};

class SelectTranslator {
 public:
  explicit SelectTranslator(TokenStream& tokens) : tokens_(tokens) {}

  // [WITH name AS (query), ...] query
  Result<SelectStatement> Translate();

 private:
  struct SelectCore {
    std::string text;  // without ORDER BY
    std::string top;   // the number, or empty
  };

  struct TableName {
    std::string sqlite;
    std::string own_name;  // the last part, as written
  };

  // SQLite's own parser has a stack of 100; each level takes two of its entries at most.
  static constexpr int kDepthMax = 40;

  // Around everything that recurses. An error ends the translation, so only success leaves.
  Status Enter();
  void Leave() { --depth_; }

  // select_translator.cc
  Result<std::string> TranslateCommonTables();
  Result<std::string> TranslateQuery();  // SELECT ... [UNION ...] [ORDER BY ...]
  Result<SelectCore> TranslateCore();
  Result<std::string> TranslateTop();
  Result<std::string> TranslateItem();          // of the select list
  Result<std::string> TranslateAlias();         // a name or a string
  Result<std::string> TranslateFrom();          // what follows FROM
  Result<std::string> TranslateJoins();         // one table and what is joined to it
  Result<std::string> TranslateTable();         // one table, with its alias
  Result<TableName> TranslateTableName();       // up to three parts, or a common table
  Result<std::string> TranslateOrderBy();       // what follows ORDER BY
  Result<std::string> TranslateList();          // expressions with commas between
  Result<std::string> TranslateSubquery();      // "(SELECT ...)", from the parenthesis on
  void NoteLiveTable(const std::string& name);  // that the query reads it
  Status SkipTableHints();                      // [WITH] (NOLOCK, ...)
  bool AtQuery(std::size_t ahead = 0) const { return tokens_.AtWord("SELECT", ahead); }

  // expression_translator.cc
  Result<Sql> TranslateExpression();         // conditions with AND, OR, NOT
  Result<Sql> TranslateCondition();          // a value, compared or not
  Result<std::string> TranslatePredicate();  // IS NULL, IN, BETWEEN, LIKE; empty if there is none
  Result<std::string> TranslateInList();
  Result<Sql> TranslateValue();  // operands with arithmetic between
  Result<Sql> TranslateOperand();
  Result<Sql> TranslateParenthesized();
  Result<Sql> TranslateLiteral();
  Result<Sql> TranslateCase();
  Result<Sql> TranslateColumn();
  Result<Sql> TranslatePreferredReplica();
  Result<Sql> TranslateFunction();
  Result<Sql> TranslateCall(const Token& name, const FunctionSpec& spec);
  Result<std::string> TranslateOver();  // OVER (PARTITION BY ... ORDER BY ...)
  Result<Sql> TranslateDateFunction(const std::string& function);  // lower case
  Result<Sql> TranslateCast();
  Result<Sql> TranslateConvert();
  Result<TypeName> ParseType();
  Result<int> ParseSmallNumber();

  TokenStream& tokens_;
  std::vector<std::string> common_tables_;
  std::vector<std::string> live_tables_;
  int depth_ = 0;        // of parentheses, functions and CASE
  int query_depth_ = 0;  // 1 = the outermost query
};

// A name in SQLite's text.
std::string QuoteIdentifier(std::string_view name);
// A string in SQLite's text.
std::string QuoteLiteral(std::string_view text);

}  // namespace capstan::tsql
