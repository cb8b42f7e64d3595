#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "server/tsql/select_functions.h"
#include "server/tsql/select_translator.h"

namespace capstan::tsql {
namespace {

constexpr std::string_view kPreferredReplica = "fn_hadr_backup_is_preferred_replica";

// Some functions name an argument twice in SQLite's words; nested, that would grow without bound.
constexpr std::size_t kExpressionBytesMax = 256U << 10;

struct Operator {
  std::string_view tsql;
  std::string_view sqlite;
};
constexpr Operator kArithmetic[] = {
    {"-", "-"}, {"*", "*"}, {"/", "/"}, {"%", "%"}, {"&", "&"}, {"|", "|"}, {"||", "||"},
};
constexpr Operator kComparisons[] = {
    {"=", "="},   {"<>", "<>"}, {"!=", "<>"}, {"<", "<"},   {">", ">"},
    {"<=", "<="}, {">=", ">="}, {"!<", ">="}, {"!>", "<="},
};

constexpr std::string_view kVersionText = "Capstan " CAPSTAN_VERSION;

// Collects operands and operators; the pluses of a chain become || once one operand of it is text.
class ValueText {
 public:
  void AddOperand(const Sql& operand) {
    pieces_.push_back(operand.text);
    chain_is_text_ = chain_is_text_ || operand.is_text;
    is_column_ = pieces_.size() == 1 && operand.is_column;
  }
  void AddPrefix(std::string_view prefix) { pieces_.emplace_back(prefix); }
  void AddPlus() {
    pluses_.push_back(pieces_.size());
    pieces_.emplace_back("+");
  }
  void AddOperator(std::string_view text) {
    EndChain();
    pieces_.emplace_back(text);
  }
  Sql Finish() {
    const bool is_text = chain_is_text_ && (pieces_.size() == 1 || !pluses_.empty());
    EndChain();
    return Sql{fmt::format("{}", fmt::join(pieces_, " ")), is_text, is_column_};
  }

 private:
  void EndChain() {
    if (chain_is_text_) {
      for (const std::size_t plus : pluses_) {
        pieces_[plus] = "||";
      }
    }
    pluses_.clear();
    chain_is_text_ = false;
  }

  std::vector<std::string> pieces_;
  std::vector<std::size_t> pluses_;  // of the chain being read
  bool chain_is_text_ = false;
  bool is_column_ = false;
};

// An operator of the table in SQLite's words, taken; empty if there is none.
template <std::size_t N>
std::string_view TakeOperator(TokenStream& tokens, const Operator (&operators)[N]) {
  for (const Operator& op : operators) {
    if (tokens.TakeSymbol(op.tsql)) {
      return op.sqlite;
    }
  }
  return "";
}

}  // namespace

// Conditions with AND, OR and NOT between; SQLite ranks these three as T-SQL does.
Result<Sql> SelectTranslator::TranslateExpression() {
  std::string text;
  while (true) {
    while (tokens_.TakeWord("NOT")) {
      text += "NOT ";
    }
    CAPSTAN_ASSIGN_OR_RETURN(Sql condition, TranslateCondition());
    const std::string_view next = tokens_.TakeWord("AND")  ? " AND "
                                  : tokens_.TakeWord("OR") ? " OR "
                                                           : "";
    if (next.empty() && text.empty()) {
      return condition;
    }
    text += condition.text;
    text += next;
    if (next.empty()) {
      return Sql{text};
    }
  }
}

// A value, and what is asked of it.
Result<Sql> SelectTranslator::TranslateCondition() {
  CAPSTAN_ASSIGN_OR_RETURN(Sql value, TranslateValue());
  if (const std::string_view op = TakeOperator(tokens_, kComparisons); !op.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql other, TranslateValue());
    return Sql{fmt::format("{} {} {}", value.text, op, other.text)};
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::string predicate, TranslatePredicate());
  return predicate.empty() ? value : Sql{value.text + predicate};
}

Result<Sql> SelectTranslator::TranslateValue() {
  ValueText text;
  while (true) {
    while (tokens_.AtSymbol("-") || tokens_.AtSymbol("+") || tokens_.AtSymbol("~")) {
      text.AddPrefix(tokens_.Next().text);
    }
    CAPSTAN_ASSIGN_OR_RETURN(const Sql operand, TranslateOperand());
    text.AddOperand(operand);
    if (tokens_.TakeWord("COLLATE")) {
      CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectName().status());  // the catalog has one collation
    }
    if (tokens_.TakeSymbol("+")) {
      text.AddPlus();
    } else if (const std::string_view op = TakeOperator(tokens_, kArithmetic); !op.empty()) {
      text.AddOperator(op);
    } else {
      return text.Finish();
    }
  }
}

Result<std::string> SelectTranslator::TranslatePredicate() {
  if (tokens_.TakeWord("IS")) {
    const bool negated = tokens_.TakeWord("NOT");
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("NULL"));
    return std::string(negated ? " IS NOT NULL" : " IS NULL");
  }
  const std::string negation = tokens_.TakeWord("NOT") ? " NOT" : "";
  if (tokens_.TakeWord("IN")) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string list, TranslateInList());
    return negation + " IN " + list;
  }
  if (tokens_.TakeWord("BETWEEN")) {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql low, TranslateValue());
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("AND"));
    CAPSTAN_ASSIGN_OR_RETURN(const Sql high, TranslateValue());
    return negation + " BETWEEN " + low.text + " AND " + high.text;
  }
  if (tokens_.TakeWord("LIKE")) {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql pattern, TranslateValue());
    std::string like = negation + " LIKE " + pattern.text;
    if (tokens_.TakeWord("ESCAPE")) {
      CAPSTAN_ASSIGN_OR_RETURN(const Sql escape, TranslateValue());
      like += " ESCAPE " + escape.text;
    }
    return like;
  }
  if (!negation.empty()) {
    return tokens_.SyntaxError();
  }
  return std::string();
}

Result<std::string> SelectTranslator::TranslateInList() {
  if (tokens_.AtSymbol("(") && AtQuery(1)) {
    return TranslateSubquery();
  }
  CAPSTAN_RETURN_IF_ERROR(Enter());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol("("));
  CAPSTAN_ASSIGN_OR_RETURN(const std::string list, TranslateList());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  Leave();
  return "(" + list + ")";
}

Result<Sql> SelectTranslator::TranslateOperand() {
  const Token& token = tokens_.Peek();
  if (token.kind == TokenKind::kString || token.kind == TokenKind::kNumber ||
      token.kind == TokenKind::kBinary || token.kind == TokenKind::kVariable) {
    return TranslateLiteral();
  }
  if (tokens_.AtSymbol("(")) {
    return TranslateParenthesized();
  }
  if (tokens_.TakeWord("NULL")) {
    return Sql{"NULL"};
  }
  if (tokens_.TakeWord("CURRENT_TIMESTAMP")) {
    return Sql{"datetime('now', 'localtime')"};
  }
  if (tokens_.AtWord("CASE")) {
    return TranslateCase();
  }
  if (tokens_.TakeWord("EXISTS")) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string query, TranslateSubquery());
    return Sql{"EXISTS " + query};
  }
  if (token.kind == TokenKind::kWord && tokens_.AtSymbol("(", 1)) {
    return TranslateFunction();
  }
  return TranslateColumn();
}

Result<Sql> SelectTranslator::TranslateParenthesized() {
  if (AtQuery(1)) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string query, TranslateSubquery());
    return Sql{query};
  }
  CAPSTAN_RETURN_IF_ERROR(Enter());
  tokens_.Next();
  CAPSTAN_ASSIGN_OR_RETURN(const Sql inner, TranslateExpression());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  Leave();
  return Sql{"(" + inner.text + ")", inner.is_text};
}

Result<Sql> SelectTranslator::TranslateLiteral() {
  const Token& token = tokens_.Peek();
  Sql literal;
  if (token.kind == TokenKind::kString) {
    literal = {QuoteLiteral(token.text), true};
  } else if (token.kind == TokenKind::kNumber) {
    literal.text = token.text;
  } else if (token.kind == TokenKind::kBinary) {
    const std::string digits = token.text.substr(2);
    literal.text = "x'" + std::string(digits.size() % 2, '0') + digits + "'";
  } else if (EqualsIgnoreCase(token.text, "@@VERSION")) {
    literal = {QuoteLiteral(kVersionText), true};
  } else {
    return tokens_.SyntaxError();
  }
  tokens_.Next();
  return literal;
}

Result<Sql> SelectTranslator::TranslateCase() {
  CAPSTAN_RETURN_IF_ERROR(Enter());
  tokens_.Next();
  std::string text = "CASE";
  if (!tokens_.AtWord("WHEN")) {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql value, TranslateExpression());
    text += " " + value.text;
  }
  bool is_text = false;
  do {
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("WHEN"));
    CAPSTAN_ASSIGN_OR_RETURN(const Sql when, TranslateExpression());
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("THEN"));
    CAPSTAN_ASSIGN_OR_RETURN(const Sql then, TranslateExpression());
    text += " WHEN " + when.text + " THEN " + then.text;
    is_text = is_text || then.is_text;
  } while (tokens_.AtWord("WHEN"));
  if (tokens_.TakeWord("ELSE")) {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql otherwise, TranslateExpression());
    text += " ELSE " + otherwise.text;
    is_text = is_text || otherwise.is_text;
  }
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("END"));
  Leave();
  return Sql{text + " END", is_text};
}

// [[database.]schema.]table.column: SQLite knows the table by its own name or alias.
Result<Sql> SelectTranslator::TranslateColumn() {
  std::string table;
  CAPSTAN_ASSIGN_OR_RETURN(std::string column, tokens_.ExpectName());
  while (tokens_.TakeSymbol(".")) {
    if (tokens_.AtSymbol(".")) {
      continue;  // msdb..backupset.name
    }
    table = std::move(column);
    CAPSTAN_ASSIGN_OR_RETURN(column, tokens_.ExpectName());
  }
  if (EqualsIgnoreCase(table, "sys") && EqualsIgnoreCase(column, kPreferredReplica) &&
      tokens_.AtSymbol("(")) {
    return TranslatePreferredReplica();
  }
  Sql sql;
  sql.text = table.empty() ? QuoteIdentifier(column)
                           : QuoteIdentifier(table) + "." + QuoteIdentifier(column);
  sql.is_column = true;
  return sql;
}

// sys.fn_hadr_backup_is_preferred_replica('sales'): what sys.databases knows. The names of the
// inner query are none that the argument could mean.
Result<Sql> SelectTranslator::TranslatePreferredReplica() {
  CAPSTAN_RETURN_IF_ERROR(Enter());
  tokens_.Next();
  CAPSTAN_ASSIGN_OR_RETURN(const Sql database, TranslateExpression());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  Leave();
  NoteLiveTable("sys.databases");
  return Sql{
      fmt::format("(SELECT fn_preferred FROM (SELECT name AS fn_database, is_preferred_replica AS "
                  "fn_preferred FROM sys_databases) WHERE fn_database = {})",
                  database.text),
      false};
}

Result<Sql> SelectTranslator::TranslateFunction() {
  const Token& name = tokens_.Peek();
  CAPSTAN_RETURN_IF_ERROR(Enter());
  tokens_.Next();
  tokens_.Next();  // the parenthesis
  Sql sql;
  if (EqualsIgnoreCase(name.text, "CAST")) {
    CAPSTAN_ASSIGN_OR_RETURN(sql, TranslateCast());
  } else if (EqualsIgnoreCase(name.text, "CONVERT")) {
    CAPSTAN_ASSIGN_OR_RETURN(sql, TranslateConvert());
  } else if (EqualsIgnoreCase(name.text, "DATEADD") || EqualsIgnoreCase(name.text, "DATEDIFF") ||
             EqualsIgnoreCase(name.text, "DATEPART")) {
    CAPSTAN_ASSIGN_OR_RETURN(sql, TranslateDateFunction(ToLower(name.text)));
  } else if (const FunctionSpec* spec = FindFunction(name.text); spec != nullptr) {
    CAPSTAN_ASSIGN_OR_RETURN(sql, TranslateCall(name, *spec));
  } else if (IsReserved(name.text)) {
    return tokens_.Fail(name, SqlError(156, name.text));
  } else {
    return tokens_.Fail(name, SqlError(195, name.text, "built-in function name"));
  }
  Leave();
  if (sql.text.size() > kExpressionBytesMax) {
    return tokens_.Fail(name, SqlError(191));
  }
  return sql;
}

// After the opening parenthesis, as the four below.
Result<Sql> SelectTranslator::TranslateCall(const Token& name, const FunctionSpec& spec) {
  const bool aggregate = spec.kind == FunctionKind::kAggregate;
  const bool distinct = aggregate && tokens_.TakeWord("DISTINCT");
  std::vector<std::string> arguments;
  bool any_text = false;
  if (aggregate && !distinct && tokens_.AtSymbol("*") && spec.sqlite == "count($1)") {
    tokens_.Next();
    arguments.emplace_back("*");
  } else if (!tokens_.AtSymbol(")")) {
    do {
      CAPSTAN_ASSIGN_OR_RETURN(const Sql argument, TranslateExpression());
      arguments.push_back(argument.text);
      any_text = any_text || argument.is_text;
    } while (tokens_.TakeSymbol(","));
  }
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  if (arguments.size() < spec.arguments_min || arguments.size() > spec.arguments_max) {
    const std::string lower = ToLower(spec.name);
    return tokens_.Fail(name, spec.arguments_min == spec.arguments_max
                                  ? SqlError(174, lower, spec.arguments_min)
                                  : SqlError(189, lower, spec.arguments_min, spec.arguments_max));
  }
  if (distinct) {
    arguments[0] = "DISTINCT " + arguments[0];
  }
  Sql sql{CallFunction(spec, arguments), spec.gives_text || (spec.passes_text && any_text)};
  if (spec.kind == FunctionKind::kRanking || (aggregate && tokens_.AtWord("OVER"))) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string over, TranslateOver());
    sql.text += over;
  }
  return sql;
}

Result<std::string> SelectTranslator::TranslateOver() {
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("OVER"));
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol("("));
  std::string text = " OVER (";
  if (tokens_.TakeWord("PARTITION")) {
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("BY"));
    CAPSTAN_ASSIGN_OR_RETURN(const std::string list, TranslateList());
    text += "PARTITION BY " + list + " ";
  }
  if (tokens_.TakeWord("ORDER")) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string order, TranslateOrderBy());
    text += "ORDER BY " + order;
  }
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  return text + ")";
}

Result<Sql> SelectTranslator::TranslateDateFunction(const std::string& function) {
  const Token& part = tokens_.Peek();
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectName().status());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(","));
  CAPSTAN_ASSIGN_OR_RETURN(const Sql first, TranslateExpression());
  Sql second;
  if (function != "datepart") {
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(","));
    CAPSTAN_ASSIGN_OR_RETURN(second, TranslateExpression());
  }
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  const std::optional<std::string> text =
      function == "dateadd"    ? DateAdd(part.text, first.text, second.text)
      : function == "datediff" ? DateDiff(part.text, first.text, second.text)
                               : DatePart(part.text, first.text);
  if (!text.has_value()) {
    return tokens_.Fail(part, SqlError(155, part.text, function));
  }
  return Sql{*text};
}

Result<Sql> SelectTranslator::TranslateCast() {
  CAPSTAN_ASSIGN_OR_RETURN(const Sql value, TranslateExpression());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("AS"));
  const Token& at = tokens_.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(const TypeName type, ParseType());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  const std::optional<Conversion> conversion = ConvertTo(type, value.text);
  if (!conversion.has_value()) {
    return tokens_.Fail(at, SqlError(243, type.name));
  }
  return Sql{conversion->sqlite, conversion->gives_text};
}

// CONVERT(type, value [, style]); a style makes a date into text.
Result<Sql> SelectTranslator::TranslateConvert() {
  const Token& at = tokens_.Peek();
  CAPSTAN_ASSIGN_OR_RETURN(const TypeName type, ParseType());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(","));
  CAPSTAN_ASSIGN_OR_RETURN(const Sql value, TranslateExpression());
  std::string source = value.text;
  const bool to_text = ConvertTo(type, source).value_or(Conversion{}).gives_text;
  if (tokens_.TakeSymbol(",")) {
    const Token& number = tokens_.Peek();
    CAPSTAN_ASSIGN_OR_RETURN(const int style, ParseSmallNumber());
    const std::optional<std::string_view> format = DateStyle(style);
    if (to_text && !format.has_value()) {
      return tokens_.Fail(number, SqlError(281, style, "datetime"));
    }
    if (to_text) {
      source = fmt::format("strftime('{}', {})", *format, source);
    }
  }
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  const std::optional<Conversion> conversion = ConvertTo(type, source);
  if (!conversion.has_value()) {
    return tokens_.Fail(at, SqlError(243, type.name));
  }
  return Sql{conversion->sqlite, conversion->gives_text};
}

// name [(size [, scale])] with "max" for a size.
Result<TypeName> SelectTranslator::ParseType() {
  TypeName type;
  CAPSTAN_ASSIGN_OR_RETURN(type.name, tokens_.ExpectName());
  if (!tokens_.TakeSymbol("(")) {
    return type;
  }
  if (!tokens_.TakeWord("MAX")) {
    CAPSTAN_ASSIGN_OR_RETURN(type.size, ParseSmallNumber());
    if (tokens_.TakeSymbol(",")) {
      CAPSTAN_ASSIGN_OR_RETURN(type.scale, ParseSmallNumber());
    }
  }
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  return type;
}

Result<int> SelectTranslator::ParseSmallNumber() {
  const Token& number = tokens_.Peek();
  int value = 0;
  const char* const end = number.text.data() + number.text.size();
  const auto parsed = std::from_chars(number.text.data(), end, value);
  if (number.kind != TokenKind::kNumber || parsed.ec != std::errc() || parsed.ptr != end) {
    return tokens_.SyntaxError();
  }
  tokens_.Next();
  return value;
}

}  // namespace capstan::tsql
