#include "server/tsql/select_translator.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "server/tsql/object_names.h"
#include "server/tsql/statement_parsers.h"

namespace capstan::tsql {
namespace {

// UNION [ALL], EXCEPT, INTERSECT, taken; empty if there is none.
std::string TakeSetOperator(TokenStream& tokens) {
  if (tokens.TakeWord("UNION")) {
    return tokens.TakeWord("ALL") ? " UNION ALL " : " UNION ";
  }
  if (tokens.TakeWord("EXCEPT")) {
    return " EXCEPT ";
  }
  return tokens.TakeWord("INTERSECT") ? " INTERSECT " : "";
}

// [INNER | CROSS | LEFT | RIGHT | FULL [OUTER]] JOIN, taken; nullopt if there is none.
Result<std::optional<std::string>> TakeJoin(TokenStream& tokens) {
  std::string join;
  for (const std::string_view kind : {"INNER", "CROSS", "LEFT", "RIGHT", "FULL"}) {
    if (tokens.TakeWord(kind)) {
      join = std::string(kind) + " ";
      if (kind != "INNER" && kind != "CROSS") {
        tokens.TakeWord("OUTER");
      }
      CAPSTAN_RETURN_IF_ERROR(tokens.ExpectWord("JOIN"));
      return std::optional(join + "JOIN");
    }
  }
  return tokens.TakeWord("JOIN") ? std::optional<std::string>("JOIN") : std::nullopt;
}

bool IsTableHint(const TokenStream& tokens, std::size_t ahead) {
  for (const std::string_view hint : {"NOLOCK", "READUNCOMMITTED", "READCOMMITTED", "READPAST"}) {
    if (tokens.AtWord(hint, ahead)) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string QuoteIdentifier(std::string_view name) {
  // Brackets where possible: SQLite takes an unknown name in double quotes for a string.
  if (name.find(']') == std::string_view::npos) {
    return "[" + std::string(name) + "]";
  }
  std::string quoted = "\"";
  for (const char c : name) {
    quoted.append(c == '"' ? 2 : 1, c);
  }
  return quoted + "\"";
}

std::string QuoteLiteral(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    quoted.append(c == '\'' ? 2 : 1, c);
  }
  return quoted + "'";
}

Result<SelectStatement> SelectTranslator::Translate() {
  std::string text;
  if (tokens_.AtWord("WITH")) {
    CAPSTAN_ASSIGN_OR_RETURN(text, TranslateCommonTables());
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::string query, TranslateQuery());
  return SelectStatement{text + query, std::move(live_tables_)};
}

Result<std::string> SelectTranslator::TranslateCommonTables() {
  tokens_.Next();
  std::string text = "WITH ";
  ++query_depth_;  // columns of these keep the names that they have
  do {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string name, tokens_.ExpectName());
    text += (common_tables_.empty() ? "" : ", ") + QuoteIdentifier(name);
    if (tokens_.TakeSymbol("(")) {
      std::string separator = " (";
      do {
        CAPSTAN_ASSIGN_OR_RETURN(const std::string column, tokens_.ExpectName());
        text += std::exchange(separator, ", ") + QuoteIdentifier(column);
      } while (tokens_.TakeSymbol(","));
      CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
      text += ")";
    }
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("AS"));
    CAPSTAN_ASSIGN_OR_RETURN(const std::string query, TranslateSubquery());
    text += " AS " + query;
    common_tables_.push_back(name);
  } while (tokens_.TakeSymbol(","));
  --query_depth_;
  return text + " ";
}

Result<std::string> SelectTranslator::TranslateQuery() {
  ++query_depth_;
  std::string text;
  bool compound = false;
  std::string top;
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const SelectCore core, TranslateCore());
    const std::string set_operator = TakeSetOperator(tokens_);
    compound = compound || !set_operator.empty();
    if (compound && !core.top.empty()) {
      // LIMIT would cut the whole compound; TOP cuts its own SELECT.
      text += "SELECT * FROM (" + core.text + " LIMIT " + core.top + ")";
    } else {
      text += core.text;
      top = core.top;
    }
    if (set_operator.empty()) {
      break;
    }
    text += set_operator;
  }
  if (tokens_.TakeWord("ORDER")) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string order, TranslateOrderBy());
    text += " ORDER BY " + order;
  }
  --query_depth_;
  return top.empty() ? text : text + " LIMIT " + top;
}

Result<SelectTranslator::SelectCore> SelectTranslator::TranslateCore() {
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("SELECT"));
  SelectCore core;
  core.text = "SELECT ";
  if (tokens_.TakeWord("DISTINCT")) {
    core.text += "DISTINCT ";
  } else {
    tokens_.TakeWord("ALL");
  }
  if (tokens_.AtWord("TOP")) {
    CAPSTAN_ASSIGN_OR_RETURN(core.top, TranslateTop());
  }
  std::string separator;
  do {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string item, TranslateItem());
    core.text += std::exchange(separator, ", ") + item;
  } while (tokens_.TakeSymbol(","));
  if (tokens_.TakeWord("FROM")) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string from, TranslateFrom());
    core.text += " FROM " + from;
  }
  if (tokens_.TakeWord("WHERE")) {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql where, TranslateExpression());
    core.text += " WHERE " + where.text;
  }
  if (tokens_.TakeWord("GROUP")) {
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("BY"));
    CAPSTAN_ASSIGN_OR_RETURN(const std::string group, TranslateList());
    core.text += " GROUP BY " + group;
  }
  if (tokens_.TakeWord("HAVING")) {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql having, TranslateExpression());
    core.text += " HAVING " + having.text;
  }
  return core;
}

Result<std::string> SelectTranslator::TranslateTop() {
  tokens_.Next();
  const bool parenthesized = tokens_.TakeSymbol("(");
  const Token& number = tokens_.Peek();
  std::int64_t value = 0;
  const char* const end = number.text.data() + number.text.size();
  const auto parsed = std::from_chars(number.text.data(), end, value);
  if (number.kind != TokenKind::kNumber || parsed.ec != std::errc() || parsed.ptr != end) {
    return tokens_.SyntaxError();
  }
  tokens_.Next();
  if (parenthesized) {
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  }
  if (tokens_.AtWord("PERCENT") || tokens_.AtWord("WITH")) {
    return tokens_.SyntaxError();
  }
  return std::to_string(value);
}

Result<std::string> SelectTranslator::TranslateAlias() {
  if (tokens_.Peek().kind == TokenKind::kString) {
    return QuoteIdentifier(tokens_.Next().text);
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::string name, tokens_.ExpectName());
  return QuoteIdentifier(name);
}

Result<std::string> SelectTranslator::TranslateItem() {
  if (tokens_.TakeSymbol("*")) {
    return std::string("*");
  }
  if (tokens_.AtName() && tokens_.AtSymbol(".", 1) && tokens_.AtSymbol("*", 2)) {
    const std::string table = QuoteIdentifier(tokens_.Next().text);
    tokens_.Next();
    tokens_.Next();
    return table + ".*";
  }
  const bool is_string = tokens_.Peek().kind == TokenKind::kString;
  std::string alias;
  if ((tokens_.AtName() || is_string) && tokens_.AtSymbol("=", 1)) {
    alias = QuoteIdentifier(tokens_.Next().text);  // alias = expression
    tokens_.Next();
  }
  CAPSTAN_ASSIGN_OR_RETURN(const Sql value, TranslateExpression());
  const bool has_alias =
      tokens_.TakeWord("AS") || tokens_.AtName() || tokens_.Peek().kind == TokenKind::kString;
  if (has_alias && alias.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(alias, TranslateAlias());
  }
  if (alias.empty() && !value.is_column && query_depth_ == 1) {
    alias = "[]";  // T-SQL gives such a column no name; SQLite would use the text as one
  }
  return alias.empty() ? value.text : value.text + " AS " + alias;
}

Result<std::string> SelectTranslator::TranslateFrom() {
  std::string text;
  std::string separator;
  do {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string joins, TranslateJoins());
    text += std::exchange(separator, ", ") + joins;
  } while (tokens_.TakeSymbol(","));
  return text;
}

Result<std::string> SelectTranslator::TranslateJoins() {
  CAPSTAN_ASSIGN_OR_RETURN(std::string text, TranslateTable());
  while (true) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::optional<std::string> join, TakeJoin(tokens_));
    if (!join.has_value()) {
      return text;
    }
    CAPSTAN_ASSIGN_OR_RETURN(const std::string table, TranslateTable());
    text += " " + *join + " " + table;
    if (*join != "CROSS JOIN") {
      CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("ON"));
      CAPSTAN_ASSIGN_OR_RETURN(const Sql condition, TranslateExpression());
      text += " ON " + condition.text;
    }
  }
}

Result<std::string> SelectTranslator::TranslateTable() {
  std::string text;
  std::string alias;
  if (tokens_.AtSymbol("(") && AtQuery(1)) {
    CAPSTAN_ASSIGN_OR_RETURN(text, TranslateSubquery());
  } else if (tokens_.AtSymbol("(")) {
    CAPSTAN_RETURN_IF_ERROR(Enter());
    tokens_.Next();
    CAPSTAN_ASSIGN_OR_RETURN(const std::string joins, TranslateJoins());
    CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
    Leave();
    return "(" + joins + ")";
  } else {
    CAPSTAN_ASSIGN_OR_RETURN(const TableName table, TranslateTableName());
    CAPSTAN_RETURN_IF_ERROR(SkipTableHints());
    text = table.sqlite;
    alias = QuoteIdentifier(table.own_name);  // so that own_name.column keeps working
  }
  if (tokens_.TakeWord("AS") || tokens_.AtName()) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string name, tokens_.ExpectName());
    alias = QuoteIdentifier(name);
  }
  CAPSTAN_RETURN_IF_ERROR(SkipTableHints());
  return alias.empty() ? text : text + " AS " + alias;
}

Result<SelectTranslator::TableName> SelectTranslator::TranslateTableName() {
  const Token first = tokens_.Peek();
  std::vector<std::string> parts;
  do {
    if (parts.size() == 1 && tokens_.AtSymbol(".")) {
      parts.emplace_back();  // msdb..backupset
      continue;
    }
    CAPSTAN_ASSIGN_OR_RETURN(std::string part, tokens_.ExpectName());
    parts.push_back(std::move(part));
  } while (tokens_.TakeSymbol("."));
  if (parts.size() == 1) {
    for (const std::string& common : common_tables_) {
      if (EqualsIgnoreCase(common, parts[0])) {
        return TableName{QuoteIdentifier(common), parts[0]};
      }
    }
  }
  const CatalogObject* object = parts.size() > 3 ? nullptr : FindCatalogObject(parts);
  if (object == nullptr) {
    std::string as_written = parts[0];
    for (std::size_t i = 1; i < parts.size(); ++i) {
      as_written += "." + parts[i];
    }
    return tokens_.Fail(first, SqlError(208, as_written));
  }
  if (!object->live_name.empty()) {
    NoteLiveTable(std::string(object->live_name));
  }
  return TableName{std::string(object->sqlite_name), parts.back()};
}

void SelectTranslator::NoteLiveTable(const std::string& name) {
  if (std::find(live_tables_.begin(), live_tables_.end(), name) == live_tables_.end()) {
    live_tables_.push_back(name);
  }
}

Status SelectTranslator::SkipTableHints() {
  const std::size_t ahead = tokens_.AtWord("WITH") ? 1 : 0;
  if (!tokens_.AtSymbol("(", ahead) || !IsTableHint(tokens_, ahead + 1)) {
    return OkStatus();
  }
  tokens_.TakeWord("WITH");
  tokens_.Next();
  do {
    if (!IsTableHint(tokens_, 0)) {
      return tokens_.SyntaxError();
    }
    tokens_.Next();
  } while (tokens_.TakeSymbol(","));
  return tokens_.ExpectSymbol(")");
}

Result<std::string> SelectTranslator::TranslateOrderBy() {
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectWord("BY"));
  std::string text;
  std::string separator;
  do {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql key, TranslateExpression());
    text += std::exchange(separator, ", ") + key.text;
    if (tokens_.TakeWord("DESC")) {
      text += " DESC";
    } else {
      tokens_.TakeWord("ASC");
    }
  } while (tokens_.TakeSymbol(","));
  return text;
}

Result<std::string> SelectTranslator::TranslateList() {
  std::string text;
  std::string separator;
  do {
    CAPSTAN_ASSIGN_OR_RETURN(const Sql value, TranslateExpression());
    text += std::exchange(separator, ", ") + value.text;
  } while (tokens_.TakeSymbol(","));
  return text;
}

Result<std::string> SelectTranslator::TranslateSubquery() {
  CAPSTAN_RETURN_IF_ERROR(Enter());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol("("));
  CAPSTAN_ASSIGN_OR_RETURN(const std::string query, TranslateQuery());
  CAPSTAN_RETURN_IF_ERROR(tokens_.ExpectSymbol(")"));
  Leave();
  return "(" + query + ")";
}

Status SelectTranslator::Enter() {
  return ++depth_ > kDepthMax ? tokens_.Fail(tokens_.Peek(), SqlError(191)) : OkStatus();
}

Result<StatementBody> ParseSelect(TokenStream& tokens) {
  CAPSTAN_ASSIGN_OR_RETURN(SelectStatement select, SelectTranslator(tokens).Translate());
  return StatementBody(std::move(select));
}

}  // namespace capstan::tsql
