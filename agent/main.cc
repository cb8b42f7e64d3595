// capstan-agent: one plugin, attached to one server.
//
// Exit status: 0 after SIGTERM or SIGINT, 1 for a plugin or an option that is wrong, 2 if the
// server refuses this agent for good, 3 if the plugin hangs.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/coordinator_client.h"
#include "agent/decorators/decorated_media.h"
#include "agent/plugin_library.h"
#include "agent/plugin_options.h"
#include "vdi/base/log.h"
#include "vdi/base/unique_fd.h"
#include "vdi/client_device_set.h"

namespace capstan::agent {
namespace {

constexpr char kOptionsVariable[] = "CAPSTAN_AGENT_OPTIONS";

constexpr int kStuckStatus = 3;
constexpr int kLookMs = 1000;  // how often a plugin that hangs is looked for

struct Settings {
  std::string plugin = "disk";
  std::string plugin_directory = DefaultPluginDirectory();
  std::string server;
  std::string name;
  std::vector<std::string> options;  // "key=value", in front of those of the environment
  std::uint32_t max_rate_mb = 0;     // 0 = no limit
  std::uint32_t retry_for_s = 30;
  LogLevel log_level = LogLevel::kInfo;
};

// Returns an exit status, or -1 to go on.
int ParseCommandLine(int argc, char** argv, Settings* settings) {
  CLI::App app("Keeps the bytes of Capstan's backups on one kind of medium.", "capstan-agent");
  app.set_version_flag("--version", "capstan-agent " CAPSTAN_VERSION);
  app.add_option("--plugin", settings->plugin, "Name of an installed plugin, or a path")
      ->capture_default_str();
  app.add_option("--plugin-dir", settings->plugin_directory, "Where installed plugins are")
      ->capture_default_str();
  app.add_option("--server", settings->server, "Where the server listens: unix:PATH")
      ->envname("CAPSTAN_SERVER")
      ->required();
  app.add_option("--name", settings->name, "Name at the server; by default the plugin's");
  app.add_option("--option", settings->options,
                 "Option of the plugin, KEY=VALUE; may be repeated. Everybody can read it here: "
                 "secrets go into\nthe environment variable CAPSTAN_AGENT_OPTIONS, one KEY=VALUE a "
                 "line")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  app.add_option("--max-rate", settings->max_rate_mb,
                 "MiB/s that all devices together may move; 0 = no limit")
      ->capture_default_str();
  app.add_option("--retry-for", settings->retry_for_s,
                 "Seconds for which a request that fails for a while is sent again; 0 = never")
      ->check(CLI::Range(0, 86'400))
      ->capture_default_str();
  app.add_option("--log-level", settings->log_level, "debug, info, warning or error")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, LogLevel>{{"debug", LogLevel::kDebug},
                                                                  {"info", LogLevel::kInfo},
                                                                  {"warning", LogLevel::kWarning},
                                                                  {"error", LogLevel::kError}}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  return -1;
}

void LogError(const Status& status) {
  CAPSTAN_LOG(kError, "{}", status.message());
  if (!status.hint().empty()) {
    CAPSTAN_LOG(kError, "HINT: {}", status.hint());
  }
}

// Before the first thread: all of them inherit it.
UniqueFd TakeOverSignals() {
  ::signal(SIGPIPE, SIG_IGN);  // what a peer closed is an error of the call
  ::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is EFBIG
  sigset_t stopping;
  sigemptyset(&stopping);
  sigaddset(&stopping, SIGTERM);
  sigaddset(&stopping, SIGINT);
  ::sigprocmask(SIG_BLOCK, &stopping, nullptr);
  return UniqueFd(::signalfd(-1, &stopping, SFD_CLOEXEC));
}

// The options of the command line, then those of the environment.
Status Configure(MediaPlugin& plugin, const Settings& settings) {
  PluginOptions options;
  for (const std::string& text : settings.options) {
    CAPSTAN_ASSIGN_OR_RETURN(auto option, ParsePluginOption(text));
    options.push_back(std::move(option));
  }
  const char* const inherited = std::getenv(kOptionsVariable);
  if (inherited != nullptr) {
    CAPSTAN_ASSIGN_OR_RETURN(const PluginOptions more, ParsePluginOptions(inherited));
    options.insert(options.end(), more.begin(), more.end());
    ::unsetenv(kOptionsVariable);  // there is no other thread yet
  }
  return ConfigurePlugin(plugin, options);
}

// Waits for a signal or for the client's own end, and ends the client.
int Serve(CoordinatorClient& client, Agent& agent, int signals) {
  const UniqueFd ended(::eventfd(0, EFD_CLOEXEC));
  Status status;
  {
    const std::jthread thread([&] {
      status = client.Run();
      ::eventfd_write(ended.get(), 1);
    });
    pollfd waits[] = {{signals, POLLIN, 0}, {ended.get(), POLLIN, 0}};
    // No time limit: an agent serves until somebody ends it, or its plugin has hung for too long.
    while (::poll(waits, 2, kLookMs) <= 0) {
      if (agent.OnlyStuckSetsAreLeft()) {
        CAPSTAN_LOG(kError,
                    "the plugin does not let go of media whose job is over: the agent ends");
        ::_exit(kStuckStatus);  // threads that hang in the plugin can be waited for by nobody
      }
    }
    if ((waits[0].revents & POLLIN) != 0) {
      CAPSTAN_LOG(kInfo, "agent stops on a signal");
      agent.Stop("the agent was told to stop");
      client.Stop();
    }
  }
  if (!status.ok()) {
    LogError(status);
    return 2;
  }
  return 0;
}

int Main(int argc, char** argv) {
  Settings settings;
  if (const int exit_status = ParseCommandLine(argc, argv, &settings); exit_status >= 0) {
    return exit_status;
  }
  SetLogLevel(settings.log_level);
  const UniqueFd signals = TakeOverSignals();
  auto plugin = LoadPlugin(PluginPath(settings.plugin, settings.plugin_directory));
  if (!plugin.ok()) {
    LogError(plugin.status());
    return 1;
  }
  if (const Status status = Configure(**plugin, settings); !status.ok()) {
    LogError(status);
    return 1;
  }
  const MediaPluginInfo info = (*plugin)->info();
  CAPSTAN_LOG(kInfo, "agent begin plugin={} version={} vendor={}", info.name, info.version,
              info.vendor);
  const std::unique_ptr<Alarms> alarms = MakeAlarms();
  const std::unique_ptr<MediaPlugin> media =
      DecorateMedia(std::move(plugin).value(),
                    {.retry = {.limit = std::chrono::seconds(settings.retry_for_s)},
                     .bytes_per_second_max = std::uint64_t{settings.max_rate_mb} << 20},
                    *alarms);
  Agent agent(*media, &vdi::ClientDeviceSet::Create);
  CoordinatorClient client({.server = settings.server,
                            .agent_name = settings.name.empty() ? info.name : settings.name,
                            .agent_version = CAPSTAN_VERSION},
                           agent);
  return Serve(client, agent, signals.get());
}

}  // namespace
}  // namespace capstan::agent

int main(int argc, char** argv) {
  return capstan::agent::Main(argc, argv);
}
