#include "tools/capstan/commands/commands.h"
#include "tools/client/credentials.h"

namespace capstan::cli {
namespace {

Result<std::string> NewPassword(const LoginOptions& options) {
  if (!options.password_file.empty()) {
    return ReadPasswordFile(options.password_file);
  }
  Result<std::string> password = AskPassword("New password: ");
  if (!password.ok()) {
    return std::move(password).status().WithHint(
        "give it with --password-file FILE, '-' = standard input");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::string again, AskPassword("Again: "));
  if (again != *password) {
    return Error(Code::kInvalidArgument, "the two passwords differ");
  }
  return password;
}

using Statement = std::string (*)(std::string_view name, std::string_view password);

ExitStatus RunWithPassword(Session& session, const LoginOptions& options, Statement statement) {
  const Result<std::string> password = NewPassword(options);
  if (!password.ok()) {
    return ReportFailure(session.console, password.status());
  }
  return RunStatement(session, statement(options.name, *password), {});
}

}  // namespace

ExitStatus RunLoginAdd(Session& session, const LoginOptions& options) {
  return RunWithPassword(session, options, CreateLoginStatement);
}

ExitStatus RunLoginPassword(Session& session, const LoginOptions& options) {
  return RunWithPassword(session, options, AlterLoginStatement);
}

ExitStatus RunLoginRemove(Session& session, const std::string& name) {
  return RunStatement(session, DropLoginStatement(name), {});
}

}  // namespace capstan::cli
