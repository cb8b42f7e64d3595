#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "server/tsql/lexical.h"
#include "server/tsql/statement_parsers.h"

namespace capstan::tsql {
namespace {

constexpr std::size_t kNameCharacters = 128;

struct ProcedureArgument {
  std::string parameter;  // "@dbname", or empty if passed by position
  std::string value;
  Token token;
};

struct ProcedureCall {
  Token token;             // where the name begins
  std::string name;        // without database and schema
  std::string as_written;  // with both
  std::vector<ProcedureArgument> arguments;
};

struct Parameter {
  std::string_view name;
  bool required = true;
};

// Takes "[[database.][schema].]name"; the parts before the name may only be where system procedures
// live.
Status ParseProcedureName(TokenStream& tokens, ProcedureCall& call) {
  call.token = tokens.Peek();
  std::vector<std::string> parts;
  do {
    if (!parts.empty() && tokens.AtSymbol(".")) {
      parts.emplace_back();  // master..sp_attach_db
      continue;
    }
    CAPSTAN_ASSIGN_OR_RETURN(std::string part, tokens.ExpectName());
    parts.push_back(std::move(part));
  } while (tokens.TakeSymbol("."));
  if (parts.size() > 3 || parts.back().empty()) {
    return tokens.SyntaxError();
  }
  call.as_written = tokens.TextSince(call.token);
  call.name = parts.back();
  return OkStatus();
}

Result<ProcedureArgument> ParseArgument(TokenStream& tokens) {
  ProcedureArgument argument;
  argument.token = tokens.Peek();
  if (argument.token.kind == TokenKind::kVariable && tokens.AtSymbol("=", 1)) {
    argument.parameter = tokens.Next().text;
    tokens.Next();
  }
  const bool negative = tokens.AtSymbol("-") && tokens.Peek(1).kind == TokenKind::kNumber;
  if (negative) {
    tokens.Next();
  }
  const TokenKind kind = tokens.Peek().kind;
  // A bare name is a string here, as in "sp_detach_db sales".
  if (kind != TokenKind::kString && kind != TokenKind::kNumber && !tokens.AtName()) {
    return tokens.SyntaxError();
  }
  argument.value = (negative ? "-" : "") + tokens.Next().text;
  return argument;
}

// Sorts the arguments by parameter. The result has one entry for each of `parameters`.
Result<std::vector<std::optional<std::string>>> BindArguments(
    TokenStream& tokens, const ProcedureCall& call, std::span<const Parameter> parameters) {
  std::vector<std::optional<std::string>> values(parameters.size());
  bool named = false;
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    const ProcedureArgument& argument = call.arguments[i];
    std::size_t index = i;
    if (!argument.parameter.empty()) {
      named = true;
      const auto found =
          std::find_if(parameters.begin(), parameters.end(), [&](const Parameter& parameter) {
            return EqualsIgnoreCase(parameter.name, argument.parameter);
          });
      if (found == parameters.end()) {
        return tokens.Fail(argument.token, SqlError(8145, argument.parameter, call.name));
      }
      index = static_cast<std::size_t>(found - parameters.begin());
    } else if (named) {
      return tokens.Fail(argument.token, SqlError(119, i + 1));
    } else if (i >= parameters.size()) {
      return tokens.Fail(argument.token, SqlError(8144, call.name));
    }
    if (values[index].has_value()) {
      return tokens.Fail(argument.token, SqlError(8143, argument.parameter));
    }
    values[index] = argument.value;
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].required && !values[i].has_value()) {
      return tokens.Fail(call.token, SqlError(201, call.name, parameters[i].name));
    }
  }
  return values;
}

// A database's name as a procedure's argument: not empty, at most 128 characters.
Status CheckDatabaseName(TokenStream& tokens, const ProcedureCall& call, std::string_view name) {
  if (name.empty()) {
    return tokens.Fail(call.token, SqlError(1038));
  }
  if (CountCodePoints(name) > kNameCharacters) {
    return tokens.Fail(call.token,
                       SqlError(103, "identifier", Clip(name, kNameCharacters), kNameCharacters));
  }
  return OkStatus();
}

Result<StatementBody> BuildAttach(TokenStream& tokens, const ProcedureCall& call) {
  constexpr std::array kParameters =
      std::to_array<Parameter>({{"@dbname", true}, {"@filename1", true}});
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  CAPSTAN_RETURN_IF_ERROR(CheckDatabaseName(tokens, call, *values[0]));
  return StatementBody(AttachStatement{*std::move(values[0]), *std::move(values[1])});
}

Result<StatementBody> BuildDetach(TokenStream& tokens, const ProcedureCall& call) {
  // @skipchecks is about statistics that only SQL Server keeps: there is nothing to skip.
  constexpr std::array kParameters =
      std::to_array<Parameter>({{"@dbname", true}, {"@skipchecks", false}});
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  CAPSTAN_RETURN_IF_ERROR(CheckDatabaseName(tokens, call, *values[0]));
  return StatementBody(DetachStatement{*std::move(values[0])});
}

Result<StatementBody> BuildConfigure(TokenStream& tokens, const ProcedureCall& call) {
  constexpr std::array kParameters =
      std::to_array<Parameter>({{"@configname", false}, {"@configvalue", false}});
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  ConfigureStatement configure{.option = values[0].value_or("")};
  if (values[1].has_value()) {
    const std::string& text = *values[1];
    std::int64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
      return tokens.Fail(call.token, SqlError(15129, Clip(text, kNameCharacters), configure.option)
                                         .WithHint("write a whole number"));
    }
    configure.value = value;
  }
  return StatementBody(std::move(configure));
}

Result<StatementBody> BuildSpaceUsed(TokenStream& tokens, const ProcedureCall& call) {
  // @objname and @updateusage are about tables and statistics that only SQL Server has.
  constexpr std::array kParameters =
      std::to_array<Parameter>({{"@objname", false}, {"@updateusage", false}, {"@dbname", true}});
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  if (values[0].has_value()) {
    return tokens.Fail(call.token,
                       SqlError(3032, "@objname")
                           .WithHint("name the database: EXEC sp_spaceused @dbname = N'sales'"));
  }
  CAPSTAN_RETURN_IF_ERROR(CheckDatabaseName(tokens, call, *values[2]));
  return StatementBody(SpaceUsedStatement{*std::move(values[2])});
}

Result<StatementBody> BuildCreateFolder(TokenStream& tokens, const ProcedureCall& call) {
  constexpr std::array kParameters = std::to_array<Parameter>({{"@path", true}});
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  if (values[0]->empty()) {
    return tokens.Fail(call.token, SqlError(3217, "@path").WithHint("name a folder"));
  }
  return StatementBody(CreateFolderStatement{*std::move(values[0])});
}

// The values of `parameters` that are there, none of them empty; `what` is what each names.
Result<std::vector<std::string>> ListOf(TokenStream& tokens, const ProcedureCall& call,
                                        std::span<const Parameter> parameters,
                                        std::span<const std::optional<std::string>> values,
                                        std::string_view what) {
  std::vector<std::string> list;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].has_value() && values[i]->empty()) {
      return tokens.Fail(
          call.token, SqlError(3217, parameters[i].name).WithHint(fmt::format("name a {}", what)));
    }
    if (values[i].has_value()) {
      list.push_back(*values[i]);
    }
  }
  return list;
}

Result<StatementBody> BuildLoadHistory(TokenStream& tokens, const ProcedureCall& call) {
  constexpr std::array kParameters = std::to_array<Parameter>({{"@path", true},
                                                               {"@path2", false},
                                                               {"@path3", false},
                                                               {"@path4", false},
                                                               {"@path5", false},
                                                               {"@path6", false},
                                                               {"@path7", false},
                                                               {"@path8", false},
                                                               {"@path9", false},
                                                               {"@path10", false},
                                                               {"@path11", false},
                                                               {"@path12", false},
                                                               {"@path13", false},
                                                               {"@path14", false},
                                                               {"@path15", false},
                                                               {"@path16", false}});
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  LoadHistoryStatement load;
  CAPSTAN_ASSIGN_OR_RETURN(load.paths,
                           ListOf(tokens, call, kParameters, values, "file or a folder"));
  return StatementBody(std::move(load));
}

Result<StatementBody> BuildDiscover(TokenStream& tokens, const ProcedureCall& call) {
  constexpr std::array kParameters = std::to_array<Parameter>({{"@folder", false},
                                                               {"@folder2", false},
                                                               {"@folder3", false},
                                                               {"@folder4", false},
                                                               {"@folder5", false},
                                                               {"@folder6", false},
                                                               {"@folder7", false},
                                                               {"@folder8", false}});
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  DiscoverStatement discover;
  CAPSTAN_ASSIGN_OR_RETURN(discover.folders, ListOf(tokens, call, kParameters, values, "folder"));
  return StatementBody(std::move(discover));
}

// A whole number within limits; `fallback` if the argument is absent.
Result<std::uint64_t> NumberOf(TokenStream& tokens, const ProcedureCall& call,
                               const Parameter& parameter, const std::optional<std::string>& text,
                               std::pair<std::uint64_t, std::uint64_t> limits,
                               std::uint64_t fallback) {
  if (!text.has_value()) {
    return fallback;
  }
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text->data() + text->size() ||
      value < limits.first || value > limits.second) {
    return tokens.Fail(call.token,
                       SqlError(3217, parameter.name)
                           .WithHint(fmt::format("whole numbers from {} to {} are allowed",
                                                 limits.first, limits.second)));
  }
  return value;
}

Result<StatementBody> BuildDeviceBench(TokenStream& tokens, const ProcedureCall& call) {
  constexpr std::uint64_t kTransferUnit = 65'536;
  constexpr std::array kParameters = std::to_array<Parameter>({{"@target", true},
                                                               {"@class", false},
                                                               {"@size_mb", false},
                                                               {"@transfer_size", false},
                                                               {"@read", false}});
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  DeviceBenchStatement bench{.target = *std::move(values[0])};
  if (bench.target.empty()) {
    return tokens.Fail(call.token, SqlError(3217, "@target").WithHint("name a folder or a URL"));
  }
  if (values[1].has_value() && EqualsIgnoreCase(*values[1], "URL")) {
    bench.device_class = DeviceClass::kUrl;
  } else if (values[1].has_value() && !EqualsIgnoreCase(*values[1], "DISK")) {
    return tokens.Fail(call.token,
                       SqlError(3217, "@class")
                           .WithHint("DISK and URL can be measured: a tape would be overwritten, "
                                     "and a virtual device is its vendor's"));
  }
  CAPSTAN_ASSIGN_OR_RETURN(bench.size_mb, NumberOf(tokens, call, kParameters[2], values[2],
                                                   {1, 1 << 20}, bench.size_mb));
  CAPSTAN_ASSIGN_OR_RETURN(const std::uint64_t transfer_size,
                           NumberOf(tokens, call, kParameters[3], values[3],
                                    {kTransferUnit, 64 * kTransferUnit}, bench.transfer_size));
  if (transfer_size % kTransferUnit != 0) {
    return tokens.Fail(call.token,
                       SqlError(3217, "@transfer_size").WithHint("use a multiple of 65536 bytes"));
  }
  bench.transfer_size = static_cast<std::uint32_t>(transfer_size);
  CAPSTAN_ASSIGN_OR_RETURN(const std::uint64_t read,
                           NumberOf(tokens, call, kParameters[4], values[4], {0, 1}, 1));
  bench.read = read != 0;
  return StatementBody(std::move(bench));
}

Result<StatementBody> BuildExpire(TokenStream& tokens, const ProcedureCall& call) {
  constexpr std::size_t kDatabases = 3;  // where their names begin
  constexpr std::array kParameters = std::to_array<Parameter>({{"@keep_full", false},
                                                               {"@keep_days", false},
                                                               {"@dry_run", false},
                                                               {"@database", false},
                                                               {"@database2", false},
                                                               {"@database3", false},
                                                               {"@database4", false},
                                                               {"@database5", false},
                                                               {"@database6", false},
                                                               {"@database7", false},
                                                               {"@database8", false},
                                                               {"@database9", false},
                                                               {"@database10", false},
                                                               {"@database11", false},
                                                               {"@database12", false},
                                                               {"@database13", false},
                                                               {"@database14", false},
                                                               {"@database15", false},
                                                               {"@database16", false}});
  constexpr std::uint64_t kKeepMax = 36'500;
  CAPSTAN_ASSIGN_OR_RETURN(auto values, BindArguments(tokens, call, kParameters));
  if (values[0].has_value() == values[1].has_value()) {
    return tokens.Fail(call.token,
                       SqlError(201, call.name, "@keep_full")
                           .WithHint("say what is kept: @keep_full = n full backups, or every "
                                     "point in time of @keep_days = n days"));
  }
  ExpireStatement expire;
  for (std::size_t i = 0; i < 2; ++i) {
    if (values[i].has_value()) {
      CAPSTAN_ASSIGN_OR_RETURN(const std::uint64_t keep,
                               NumberOf(tokens, call, kParameters[i], values[i], {1, kKeepMax}, 0));
      (i == 0 ? expire.keep_full : expire.keep_days) = static_cast<int>(keep);
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::uint64_t dry_run,
                           NumberOf(tokens, call, kParameters[2], values[2], {0, 1}, 0));
  expire.dry_run = dry_run != 0;
  CAPSTAN_ASSIGN_OR_RETURN(expire.databases,
                           ListOf(tokens, call, std::span(kParameters).subspan(kDatabases),
                                  std::span(values).subspan(kDatabases), "database"));
  return StatementBody(std::move(expire));
}

struct Procedure {
  std::string_view name;
  Result<StatementBody> (*build)(TokenStream& tokens, const ProcedureCall& call);
};
constexpr Procedure kProcedures[] = {
    {"sp_attach_db", BuildAttach},
    {"sp_configure", BuildConfigure},
    {"sp_detach_db", BuildDetach},
    {"sp_device_bench", BuildDeviceBench},
    {"sp_discover_databases", BuildDiscover},
    {"sp_expire_backups", BuildExpire},
    {"sp_load_history", BuildLoadHistory},
    {"sp_spaceused", BuildSpaceUsed},
    {"xp_create_subdir", BuildCreateFolder},
};

}  // namespace

Result<StatementBody> ParseProcedureCall(TokenStream& tokens) {
  if (!tokens.TakeWord("EXEC")) {
    tokens.TakeWord("EXECUTE");
  }
  ProcedureCall call;
  CAPSTAN_RETURN_IF_ERROR(ParseProcedureName(tokens, call));
  if (!tokens.AtBoundary()) {
    do {
      CAPSTAN_ASSIGN_OR_RETURN(ProcedureArgument argument, ParseArgument(tokens));
      call.arguments.push_back(std::move(argument));
    } while (tokens.TakeSymbol(","));
  }
  if (!tokens.AtBoundary()) {
    return tokens.SyntaxError();
  }
  for (const Procedure& procedure : kProcedures) {
    if (EqualsIgnoreCase(procedure.name, call.name)) {
      return procedure.build(tokens, call);
    }
  }
  return tokens.Fail(call.token, SqlError(2812, call.as_written));
}

}  // namespace capstan::tsql
