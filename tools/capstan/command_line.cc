#include "tools/capstan/command_line.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "tools/capstan/command_set.h"
#include "tools/capstan/statements.h"
#include "tools/client/credentials.h"

namespace capstan::cli {

void AddJson(CLI::App* command, OutputFormat& format) {
  command->add_flag_callback(
      "--json", [&format] { format = OutputFormat::kJson; }, "Print JSON instead of tables");
}

void AddListCommand(CLI::App& parent, Commands& commands, const char* name, const char* help,
                    ListSubject subject) {
  CLI::App* const command = parent.add_subcommand(name, help);
  const auto options = std::make_shared<ListOptions>();
  options->subject = subject;
  AddJson(command, options->format);
  commands.Add(command, [options]() -> Result<Action> {
    return Action([options](Session& session) { return RunList(session, *options); });
  });
}

namespace {

void AddExec(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand("exec", "Run statements");
  command->footer(
      "Lines that hold only GO, or GO and a count, separate batches, as in sqlcmd. After a failed "
      "batch the\nnext ones still run, unless -b is given; the exit status is 1 then.\n\n"
      "Examples:\n"
      "  capstan exec \"BACKUP DATABASE [sales] TO DISK = N'/backup/sales.bak' WITH STATS = 10\"\n"
      "  capstan exec --file nightly.sql\n"
      "  echo 'SELECT name FROM sys.databases' | capstan exec --json");
  const auto options = std::make_shared<ExecOptions>();
  CLI::Option* const statement = command->add_option(
      "STATEMENT", options->statement, "The batch to run; '-' or nothing = standard input");
  command->add_option("-f,--file", options->file, "Read the batches from this file")
      ->excludes(statement);
  command->add_flag("-b,--stop-on-error", options->stop_on_error,
                    "Stop after the first batch that fails");
  AddJson(command, options->format);
  commands.Add(command, [options]() -> Result<Action> {
    return Action([options](Session& session) { return RunExec(session, *options); });
  });
}

void AddDatabaseAdd(CLI::App& database, Commands& commands) {
  struct Typed {
    std::string name;
    std::string location;
  };
  CLI::App* const command = database.add_subcommand("add", "Register a database with the server");
  command->footer(
      "Examples:\n"
      "  capstan database add sales sqlite:/srv/sales.db\n"
      "  capstan database add shop 'postgresql:host=/run/postgresql port=5432'");
  const auto typed = std::make_shared<Typed>();
  command->add_option("NAME", typed->name, "Its name in statements")->required();
  command->add_option("SOURCE", typed->location, "Where it is: sqlite:PATH or postgresql:CONNINFO")
      ->required();
  commands.Add(command, [typed, &commands]() -> Result<Action> {
    CAPSTAN_ASSIGN_OR_RETURN(std::string location,
                             ParseDatabaseLocation(typed->location, commands.working_directory));
    return Action([typed, location = std::move(location)](Session& session) {
      return RunDatabaseAdd(session, typed->name, location);
    });
  });
}

void AddDatabaseSet(CLI::App& database, Commands& commands) {
  struct Typed {
    std::string name;
    std::string recovery;
    std::string preference;
  };
  CLI::App* const command = database.add_subcommand("set", "Change how a database is backed up");
  command->footer("Example:\n  capstan database set sales --recovery full");
  const auto typed = std::make_shared<Typed>();
  command->add_option("NAME", typed->name, "Its name in statements")->required();
  command
      ->add_option("--recovery", typed->recovery,
                   "simple: no log backups; full: log is kept for them; bulk_logged: as full")
      ->check(CLI::IsMember({"simple", "full", "bulk_logged"}));
  command
      ->add_option("--backup-preference", typed->preference,
                   "On which copy of a replicated database log and copy-only backups run")
      ->check(CLI::IsMember({"primary", "secondary_only", "secondary", "none"}));
  commands.Add(command, [typed]() -> Result<Action> {
    if (typed->recovery.empty() && typed->preference.empty()) {
      return Error(Code::kInvalidArgument, "neither --recovery nor --backup-preference is given");
    }
    return Action([typed](Session& session) {
      return RunDatabaseSet(session, typed->name, typed->recovery, typed->preference);
    });
  });
}

void AddDatabaseDiscover(CLI::App& database, Commands& commands) {
  struct Typed {
    std::vector<std::string> folders;
    OutputFormat format = OutputFormat::kTable;
  };
  CLI::App* const command = database.add_subcommand(
      "discover", "Find databases: running servers, and files in folders of the server");
  const auto typed = std::make_shared<Typed>();
  command
      ->add_option("FOLDER", typed->folders,
                   "Where to look for files; by default the server's discovery_folders")
      ->expected(0, static_cast<int>(kDiscoverFoldersMax));
  AddJson(command, typed->format);
  commands.Add(command, [typed, &commands]() -> Result<Action> {
    std::vector<std::string> folders;
    for (const std::string& folder : typed->folders) {
      folders.push_back(AbsolutePath(folder, commands.working_directory));
    }
    return Action([folders = std::move(folders), format = typed->format](Session& session) {
      return RunDatabaseDiscover(session, folders, format);
    });
  });
}

void AddDatabase(CLI::App& app, Commands& commands) {
  CLI::App* const database = app.add_subcommand("database", "Register, list and forget databases");
  database->require_subcommand(1);
  AddDatabaseAdd(*database, commands);
  AddDatabaseSet(*database, commands);
  AddDatabaseDiscover(*database, commands);
  AddListCommand(*database, commands, "list", "List the registered databases",
                 ListSubject::kDatabases);
  CLI::App* const remove = database->add_subcommand(
      "remove", "Forget a database; its files and its backups stay as they are");
  const auto name = std::make_shared<std::string>();
  remove->add_option("NAME", *name, "Its name in statements")->required();
  commands.Add(remove, [name]() -> Result<Action> {
    return Action([name](Session& session) { return RunDatabaseRemove(session, *name); });
  });
}

void AddList(CLI::App& app, Commands& commands) {
  CLI::App* const list = app.add_subcommand("list", "List what the server knows");
  list->require_subcommand(1);
  AddListCommand(*list, commands, "writers", "Writers and their states, as vssadmin prints them",
                 ListSubject::kWriters);
  AddListCommand(*list, commands, "agents", "Agents, how they are and how they ended last",
                 ListSubject::kAgents);
  AddListCommand(*list, commands, "devices", "Devices in use and their rates",
                 ListSubject::kDevices);
  AddListCommand(*list, commands, "device-sets",
                 "Virtual device sets, also those that wait for a statement",
                 ListSubject::kDeviceSets);
  AddListCommand(*list, commands, "jobs", "Statements that are running", ListSubject::kJobs);
  AddListCommand(*list, commands, "job-history", "What became of earlier jobs, newest first",
                 ListSubject::kJobHistory);
  AddListCommand(*list, commands, "databases", "Registered databases", ListSubject::kDatabases);
}

void AddHistory(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand("history", "Show the newest backups");
  const auto options = std::make_shared<HistoryOptions>();
  command->add_option("DATABASE", options->database, "Only of this database");
  command->add_option("-n,--limit", options->limit, "How many backups")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  AddJson(command, options->format);
  commands.Add(command, [options]() -> Result<Action> {
    return Action([options](Session& session) { return RunHistory(session, *options); });
  });
}

void AddLoginWithPassword(CLI::App& login, Commands& commands, const char* name, const char* help,
                          ExitStatus (*run)(Session&, const LoginOptions&)) {
  CLI::App* const command = login.add_subcommand(name, help);
  const auto options = std::make_shared<LoginOptions>();
  command->add_option("NAME", options->name, "Name of the login")->required();
  command
      ->add_option("--password-file", options->password_file,
                   "Its password is the first line of this file; '-' = standard input; by default "
                   "the\nterminal is asked")
      ->type_name("FILE");
  commands.Add(command, [options, run]() -> Result<Action> {
    return Action([options, run](Session& session) { return run(session, *options); });
  });
}

void AddLogin(CLI::App& app, Commands& commands) {
  CLI::App* const login =
      app.add_subcommand("login", "Add, list and remove the logins of a server with passwords");
  login->require_subcommand(1);
  AddLoginWithPassword(*login, commands, "add", "Add a login", RunLoginAdd);
  AddLoginWithPassword(*login, commands, "password", "Change a login's password", RunLoginPassword);
  AddListCommand(*login, commands, "list", "List the logins", ListSubject::kLogins);
  CLI::App* const remove = login->add_subcommand("remove", "Remove a login");
  const auto name = std::make_shared<std::string>();
  remove->add_option("NAME", *name, "Name of the login")->required();
  commands.Add(remove, [name]() -> Result<Action> {
    return Action([name](Session& session) { return RunLoginRemove(session, *name); });
  });
}

void AddTop(CLI::App& app, Commands& commands) {
  CLI::App* const command =
      app.add_subcommand("top", "Watch the devices at work, refreshed every second");
  command->footer("Bars are relative to the fastest rate seen. Ctrl-C ends it.");
  const auto options = std::make_shared<TopOptions>();
  command->add_flag("--once", options->once, "Print once and leave");
  AddJson(command, options->format);
  commands.Add(command, [options]() -> Result<Action> {
    return Action([options](Session& session) { return RunTop(session, *options); });
  });
}

void AddCancel(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand("cancel", "Stop a running job");
  const auto session_id = std::make_shared<std::int64_t>(0);
  command->add_option("JOB", *session_id, "Its number in 'capstan list jobs'")
      ->required()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{2'147'483'647}));
  commands.Add(command, [session_id]() -> Result<Action> {
    return Action([session_id](Session& session) { return RunCancel(session, *session_id); });
  });
}

void AddStatus(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "status", "Is the server there, and what does it do? Exit status 3 if it is not");
  const auto options = std::make_shared<StatusOptions>();
  AddJson(command, options->format);
  commands.Add(command, [options]() -> Result<Action> {
    return Action([options](Session& session) { return RunStatus(session, *options); });
  });
}

void AddAll(CLI::App& app, Commands& commands) {
  app.require_subcommand(1);
  app.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app.get_formatter()->label("Subcommands", "Commands");
  app.fallthrough();  // --server may also stand behind the command; commands inherit this
  app.set_version_flag("--version", "capstan " CAPSTAN_VERSION);
  app.set_help_flag("-h,--help", "Print this help and leave");
  app.footer(
      "Exit status: 0 done, 1 a statement failed or was cancelled, 2 wrong command line, 3 the "
      "server cannot\nbe reached or was lost. 'capstan COMMAND --help' tells more about a "
      "command.");
  AddExec(app, commands);
  AddDatabase(app, commands);
  AddTransferCommands(app, commands);
  AddHistory(app, commands);
  AddList(app, commands);
  AddLogin(app, commands);
  AddStoreCommands(app, commands);
  AddTapeCommands(app, commands);
  AddTop(app, commands);
  AddCancel(app, commands);
  AddStatus(app, commands);
}

Answer UsageError(const Status& status) {
  std::string text = fmt::format("capstan: {}\n", status.message());
  if (!status.hint().empty()) {
    text += fmt::format("HINT: {}\n", status.hint());
  }
  return {ExitStatus::kUsage, std::move(text)};
}

// CLI11 says only that a command is required, also of one that it does not know. OK if that is not
// what is wrong.
Status CommandError(const CLI::App& app) {
  const CLI::App* parent = &app;
  while (!parent->get_subcommands().empty()) {
    parent = parent->get_subcommands().front();
  }
  if (parent->get_require_subcommand_min() == 0) {
    return OkStatus();
  }
  std::vector<std::string> names;
  for (const CLI::App* const command :
       parent->get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  const std::string of = parent == &app ? "" : fmt::format(" of '{}'", parent->get_name());
  const std::vector<std::string> unknown = app.remaining(true);
  Status error = Error(Code::kInvalidArgument, "a command{} is missing", of);
  if (!unknown.empty()) {
    const bool option = unknown.front().starts_with('-');
    error = Error(Code::kInvalidArgument, "'{}' is no {}{}", unknown.front(),
                  option ? "option" : "command", of);
  }
  return std::move(error).WithHint(
      fmt::format("commands are {}; --help tells more", fmt::join(names, ", ")));
}

// What the server is told about who asks. No option takes a password: arguments are public.
Credentials CredentialsOf(const std::string& user) {
  Credentials credentials{.login = user, .password = EnvironmentValue("CAPSTAN_PASSWORD")};
  if (credentials.login.empty()) {
    credentials.login = EnvironmentValue("CAPSTAN_USER").value_or("");
  }
  return credentials;
}

Result<Invocation> Plan(const Commands& commands, const std::string& server,
                        const std::string& user) {
  CAPSTAN_ASSIGN_OR_RETURN(Endpoint endpoint, ParseEndpoint(server));
  for (const auto& [command, planner, asks_server] : commands.planners) {
    if (command->parsed()) {
      CAPSTAN_ASSIGN_OR_RETURN(Action run, planner());
      Invocation invocation{std::move(endpoint), CredentialsOf(user), false, std::move(run)};
      const Credentials& credentials = invocation.credentials;
      invocation.ask_password =
          asks_server && !credentials.login.empty() && !credentials.password.has_value();
      return invocation;
    }
  }
  return Error(Code::kInvalidArgument, "no command");
}

}  // namespace

std::variant<Invocation, Answer> ParseCommandLine(int argc, const char* const* argv) {
  Commands commands;
  std::error_code error;
  commands.working_directory = std::filesystem::current_path(error).string();
  if (error) {
    return UsageError(OsError(error.value(), "unable to find the working directory"));
  }
  try {
    CLI::App app("Backs up and restores live databases through a Capstan server.", "capstan");
    const char* const environment = std::getenv("CAPSTAN_SERVER");
    std::string server(environment != nullptr && *environment != '\0' ? environment
                                                                      : kDefaultServer);
    app.add_option("--server", server,
                   "Address of the server: unix:PATH, a path, or HOST:PORT; by default "
                   "CAPSTAN_SERVER in the\nenvironment, else unix:/run/capstan/capstand.sock")
        ->type_name("ADDRESS");
    std::string user;
    app.add_option("--user", user,
                   "Login at the server; by default CAPSTAN_USER in the environment, else your own "
                   "name.\nIts password is CAPSTAN_PASSWORD in the environment, or the terminal is "
                   "asked")
        ->type_name("NAME");
    AddAll(app, commands);
    try {
      app.parse(argc, argv);
    } catch (const CLI::RequiredError& required) {
      const Status of_command = CommandError(app);
      std::ostringstream usage;
      app.exit(required, usage, usage);
      return of_command.ok() ? Answer{ExitStatus::kUsage, "capstan: " + usage.str()}
                             : UsageError(of_command);
    } catch (const CLI::ParseError& parse_error) {
      std::ostringstream out;
      std::ostringstream usage;
      const bool asked = app.exit(parse_error, out, usage) == 0;
      return asked ? Answer{ExitStatus::kDone, out.str()}
                   : Answer{ExitStatus::kUsage, "capstan: " + usage.str()};
    }
    Result<Invocation> invocation = Plan(commands, server, user);
    if (!invocation.ok()) {
      return UsageError(invocation.status());
    }
    return *std::move(invocation);
  } catch (const CLI::Error& definition_error) {
    return UsageError(
        Error(Code::kInternal, "the command line is defined wrongly: {}", definition_error.what()));
  }
}

}  // namespace capstan::cli
