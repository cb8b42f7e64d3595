#include "server/tsql/keywords.h"

#include <algorithm>
#include <array>

namespace capstan::tsql {
namespace {

constexpr std::array kReserved = std::to_array<std::string_view>({"ADD",
                                                                  "ALL",
                                                                  "ALTER",
                                                                  "AND",
                                                                  "ANY",
                                                                  "AS",
                                                                  "ASC",
                                                                  "AUTHORIZATION",
                                                                  "BACKUP",
                                                                  "BEGIN",
                                                                  "BETWEEN",
                                                                  "BREAK",
                                                                  "BROWSE",
                                                                  "BULK",
                                                                  "BY",
                                                                  "CASCADE",
                                                                  "CASE",
                                                                  "CHECK",
                                                                  "CHECKPOINT",
                                                                  "CLOSE",
                                                                  "CLUSTERED",
                                                                  "COALESCE",
                                                                  "COLLATE",
                                                                  "COLUMN",
                                                                  "COMMIT",
                                                                  "COMPUTE",
                                                                  "CONSTRAINT",
                                                                  "CONTAINS",
                                                                  "CONTAINSTABLE",
                                                                  "CONTINUE",
                                                                  "CONVERT",
                                                                  "CREATE",
                                                                  "CROSS",
                                                                  "CURRENT",
                                                                  "CURRENT_DATE",
                                                                  "CURRENT_TIME",
                                                                  "CURRENT_TIMESTAMP",
                                                                  "CURRENT_USER",
                                                                  "CURSOR",
                                                                  "DATABASE",
                                                                  "DBCC",
                                                                  "DEALLOCATE",
                                                                  "DECLARE",
                                                                  "DEFAULT",
                                                                  "DELETE",
                                                                  "DENY",
                                                                  "DESC",
                                                                  "DISK",
                                                                  "DISTINCT",
                                                                  "DISTRIBUTED",
                                                                  "DOUBLE",
                                                                  "DROP",
                                                                  "DUMP",
                                                                  "ELSE",
                                                                  "END",
                                                                  "ERRLVL",
                                                                  "ESCAPE",
                                                                  "EXCEPT",
                                                                  "EXEC",
                                                                  "EXECUTE",
                                                                  "EXISTS",
                                                                  "EXIT",
                                                                  "EXTERNAL",
                                                                  "FETCH",
                                                                  "FILE",
                                                                  "FILLFACTOR",
                                                                  "FOR",
                                                                  "FOREIGN",
                                                                  "FREETEXT",
                                                                  "FREETEXTTABLE",
                                                                  "FROM",
                                                                  "FULL",
                                                                  "FUNCTION",
                                                                  "GOTO",
                                                                  "GRANT",
                                                                  "GROUP",
                                                                  "HAVING",
                                                                  "HOLDLOCK",
                                                                  "IDENTITY",
                                                                  "IDENTITYCOL",
                                                                  "IDENTITY_INSERT",
                                                                  "IF",
                                                                  "IN",
                                                                  "INDEX",
                                                                  "INNER",
                                                                  "INSERT",
                                                                  "INTERSECT",
                                                                  "INTO",
                                                                  "IS",
                                                                  "JOIN",
                                                                  "KEY",
                                                                  "KILL",
                                                                  "LEFT",
                                                                  "LIKE",
                                                                  "LINENO",
                                                                  "LOAD",
                                                                  "MERGE",
                                                                  "NATIONAL",
                                                                  "NOCHECK",
                                                                  "NONCLUSTERED",
                                                                  "NOT",
                                                                  "NULL",
                                                                  "NULLIF",
                                                                  "OF",
                                                                  "OFF",
                                                                  "OFFSETS",
                                                                  "ON",
                                                                  "OPEN",
                                                                  "OPENDATASOURCE",
                                                                  "OPENQUERY",
                                                                  "OPENROWSET",
                                                                  "OPENXML",
                                                                  "OPTION",
                                                                  "OR",
                                                                  "ORDER",
                                                                  "OUTER",
                                                                  "OVER",
                                                                  "PERCENT",
                                                                  "PIVOT",
                                                                  "PLAN",
                                                                  "PRECISION",
                                                                  "PRIMARY",
                                                                  "PRINT",
                                                                  "PROC",
                                                                  "PROCEDURE",
                                                                  "PUBLIC",
                                                                  "RAISERROR",
                                                                  "READ",
                                                                  "READTEXT",
                                                                  "RECONFIGURE",
                                                                  "REFERENCES",
                                                                  "REPLICATION",
                                                                  "RESTORE",
                                                                  "RESTRICT",
                                                                  "RETURN",
                                                                  "REVERT",
                                                                  "REVOKE",
                                                                  "RIGHT",
                                                                  "ROLLBACK",
                                                                  "ROWCOUNT",
                                                                  "ROWGUIDCOL",
                                                                  "RULE",
                                                                  "SAVE",
                                                                  "SCHEMA",
                                                                  "SECURITYAUDIT",
                                                                  "SELECT",
                                                                  "SEMANTICKEYPHRASETABLE",
                                                                  "SEMANTICSIMILARITYDETAILSTABLE",
                                                                  "SEMANTICSIMILARITYTABLE",
                                                                  "SESSION_USER",
                                                                  "SET",
                                                                  "SETUSER",
                                                                  "SHUTDOWN",
                                                                  "SOME",
                                                                  "STATISTICS",
                                                                  "SYSTEM_USER",
                                                                  "TABLE",
                                                                  "TABLESAMPLE",
                                                                  "TEXTSIZE",
                                                                  "THEN",
                                                                  "TO",
                                                                  "TOP",
                                                                  "TRAN",
                                                                  "TRANSACTION",
                                                                  "TRIGGER",
                                                                  "TRUNCATE",
                                                                  "TRY_CONVERT",
                                                                  "TSEQUAL",
                                                                  "UNION",
                                                                  "UNIQUE",
                                                                  "UNPIVOT",
                                                                  "UPDATE",
                                                                  "UPDATETEXT",
                                                                  "USE",
                                                                  "USER",
                                                                  "VALUES",
                                                                  "VARYING",
                                                                  "VIEW",
                                                                  "WAITFOR",
                                                                  "WHEN",
                                                                  "WHERE",
                                                                  "WHILE",
                                                                  "WITH",
                                                                  "WITHIN",
                                                                  "WRITETEXT"});

constexpr std::array kStarters = std::to_array<std::string_view>(
    {"ALTER",     "BACKUP",     "BEGIN",       "BREAK",   "BULK",       "CHECKPOINT", "CLOSE",
     "COMMIT",    "CONTINUE",   "CREATE",      "DBCC",    "DEALLOCATE", "DECLARE",    "DELETE",
     "DENY",      "DROP",       "DUMP",        "EXEC",    "EXECUTE",    "GOTO",       "GRANT",
     "IF",        "INSERT",     "KILL",        "LOAD",    "MERGE",      "OPEN",       "PRINT",
     "RAISERROR", "READTEXT",   "RECONFIGURE", "RESTORE", "RETURN",     "REVERT",     "REVOKE",
     "ROLLBACK",  "SAVE",       "SELECT",      "SET",     "SETUSER",    "SHUTDOWN",   "TRUNCATE",
     "UPDATE",    "UPDATETEXT", "USE",         "WAITFOR", "WHILE",      "WITH",       "WRITETEXT"});

static_assert(std::is_sorted(kReserved.begin(), kReserved.end()));
static_assert(std::is_sorted(kStarters.begin(), kStarters.end()));

constexpr char Upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
constexpr char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Upper(x) == Upper(y); });
}

std::string ToUpper(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(), Upper);
  return upper;
}

std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  return lower;
}

bool IsReserved(std::string_view word) {
  return std::binary_search(kReserved.begin(), kReserved.end(), std::string_view(ToUpper(word)));
}

bool StartsStatement(std::string_view word) {
  return std::binary_search(kStarters.begin(), kStarters.end(), std::string_view(ToUpper(word)));
}

}  // namespace capstan::tsql
