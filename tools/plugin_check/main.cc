// plugin-check: whether a plugin keeps what capstan/plugin.h promises.
//
// Exit status: 0 every judged clause is kept, 1 a promise is broken or could not be judged,
// 2 a wrong option, or the plugin cannot be loaded.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "tools/plugin_check/report.h"
#include "tools/plugin_check/runner.h"

namespace capstan::plugin_check {
namespace {

constexpr int kWrongUse = 2;

struct CommandLine {
  Setup setup;
  std::vector<std::string> options;
  std::vector<std::string> only;
  double patience_s = 30;
  bool json = false;
  bool list = false;
};

// Where a plugin that keeps files has them, if the place looks like a path. A folder that everybody
// uses tells nothing.
std::string FolderOf(const std::string& place) {
  const std::size_t scheme = place.find("://");
  const std::string path = scheme == std::string::npos ? place : place.substr(scheme + 3);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code ignored;
  const bool own = folder.is_absolute() && folder != "/" && folder != "/tmp" &&
                   std::filesystem::is_directory(folder, ignored);
  return own ? folder.string() : "";
}

void Print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

int Refuse(const std::string& what) {
  std::fprintf(stderr, "plugin-check: %s\n", what.c_str());
  return kWrongUse;
}

// An exit status, or -1 to go on.
int ParseCommandLine(int argc, char** argv, CommandLine* line) {
  CLI::App app("Judges a media plugin of Capstan by the rules of capstan/plugin.h.",
               "plugin-check");
  app.set_version_flag("--version", "plugin-check " CAPSTAN_VERSION);
  app.add_option("PLUGIN", line->setup.plugin, "The plugin's shared library");
  app.add_option("URI", line->setup.place,
                 "Where it may create and remove media: what their names begin with, or a drive");
  app.add_option("--option", line->options, "KEY=VALUE for the plugin; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--only", line->only, "A clause to judge; may be repeated")
      ->allow_extra_args(false);
  app.add_option(
      "--files", line->setup.files,
      "The folder in which the plugin, and nobody else, keeps files; by default\nthat of URI");
  app.add_option("--patience", line->patience_s, "Seconds that one request may take")
      ->capture_default_str();
  app.add_flag("--large", line->setup.large, "Really write a medium of more than 4 GiB");
  app.add_flag("--json", line->json, "A report for programs");
  app.add_flag("--list", line->list, "Print the clauses, and judge nothing");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongUse;
  }
  return -1;
}

int Complete(CommandLine* line) {
  Setup& setup = line->setup;
  if (setup.plugin.empty() || setup.place.empty()) {
    return Refuse("name a plugin and a place for media; --help says more");
  }
  if (setup.plugin.find('/') == std::string::npos) {
    setup.plugin.insert(0, "./");  // dlopen would look for it elsewhere
  }
  for (const std::string& option : line->options) {
    const std::size_t equals = option.find('=');
    if (equals == std::string::npos) {
      return Refuse("--option wants KEY=VALUE, not '" + option + "'");
    }
    setup.options.emplace_back(option.substr(0, equals), option.substr(equals + 1));
  }
  for (const std::string& name : line->only) {
    if (std::none_of(Clauses().begin(), Clauses().end(),
                     [&](const Clause& clause) { return clause.name == name; })) {
      return Refuse("there is no clause '" + name + "'; --list names them all");
    }
  }
  setup.patience = std::chrono::milliseconds(static_cast<std::int64_t>(line->patience_s * 1000));
  if (setup.files.empty()) {
    setup.files = FolderOf(setup.place);
  }
  return -1;
}

int Judge(const CommandLine& line) {
  Runner runner(line.setup);
  std::string why;
  const std::optional<Facts> facts = runner.Learn(&why);
  if (!facts) {
    return Refuse("'" + line.setup.plugin + "': " + why);
  }
  std::vector<Finding> findings;
  if (!line.json) {
    Print(HeadLine(line.setup, *facts));
  }
  for (const Clause& clause : Clauses()) {
    const bool wanted = line.only.empty() || std::find(line.only.begin(), line.only.end(),
                                                       clause.name) != line.only.end();
    if (wanted) {
      findings.push_back(runner.Judge(clause, *facts));
      if (!line.json) {
        Print(CardLine(findings.back()));
      }
    }
  }
  const Totals totals = TotalsOf(findings);
  Print(line.json ? JsonReport(line.setup, *facts, findings) : SumLine(totals));
  return totals.broken + totals.unjudged > 0 ? 1 : 0;
}

int Main(int argc, char** argv) {
  CommandLine line;
  if (const int status = ParseCommandLine(argc, argv, &line); status >= 0) {
    return status;
  }
  if (line.list) {
    for (const Clause& clause : Clauses()) {
      Print(fmt::format("{:<28} rule {:<9} {}\n", clause.name, clause.rule, clause.what));
    }
    return 0;
  }
  if (const int status = Complete(&line); status >= 0) {
    return status;
  }
  return Judge(line);
}

}  // namespace
}  // namespace capstan::plugin_check

int main(int argc, char** argv) {
  return capstan::plugin_check::Main(argc, argv);
}
