// capstand: the Capstan server. Runs in the foreground until SIGTERM or SIGINT.

#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>
#include <malloc.h>
#include <signal.h>

#include "server/coordinator/config.h"
#include "server/coordinator/server.h"
#include "vdi/base/log.h"

namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

// Blocked in every thread from the start, so that only the wait below takes them.
sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// What a job takes for extents and codecs is taken by the megabyte, and must go back when the job
// ends. glibc stops giving such pieces back once it has seen one freed; the arena of every thread
// that ever coded would keep a few.
void GiveLargePiecesBack() {
  constexpr int kLargeBytes = 256 << 10;
  ::mallopt(M_MMAP_THRESHOLD, kLargeBytes);
}

void PrintFailure(const capstan::Status& status) {
  std::fprintf(stderr, "capstand: %.*s\n", static_cast<int>(status.message().size()),
               status.message().data());
  if (!status.hint().empty()) {
    std::fprintf(stderr, "HINT: %.*s\n", static_cast<int>(status.hint().size()),
                 status.hint().data());
  }
}

}  // namespace

int main(int argc, char** argv) {
  GiveLargePiecesBack();
  capstan::coordinator::ServerConfig flags;
  std::string config_path;
  CLI::App app("capstand: backs up and restores live databases through virtual devices");
  app.set_version_flag("--version", std::string("capstand ") + CAPSTAN_VERSION);
  app.add_option("--data-dir", flags.data_dir,
                 "Directory of the catalog, the logs and the sockets");
  app.add_option("--config", config_path, "TOML file; flags win over it");
  app.add_option("--socket", flags.socket, "Unix socket of the control plane");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    return status == 0 ? 0 : kExitUsage;
  }

  capstan::coordinator::ServerConfig config;
  capstan::Status status;
  if (!config_path.empty()) {
    status = capstan::coordinator::ApplyFile(config_path, &config);
  }
  if (!flags.data_dir.empty()) {
    config.data_dir = flags.data_dir;
  }
  if (!flags.socket.empty()) {
    config.socket = flags.socket;
  }
  if (status.ok()) {
    status = capstan::coordinator::Complete(&config);
  }
  if (!status.ok()) {
    PrintFailure(status);
    return kExitUsage;
  }
  capstan::SetLogLevel(config.log_level);

  const sigset_t signals = StopSignals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  auto server = capstan::coordinator::Server::Start(config);
  if (!server.ok()) {
    PrintFailure(server.status());
    return kExitFailed;
  }
  std::printf("capstand %s is ready on unix:%s (devices on %s)\n", CAPSTAN_VERSION,
              config.socket.c_str(), config.vdi_socket.c_str());
  std::fflush(stdout);
  int signal_number = 0;
  ::sigwait(&signals, &signal_number);
  CAPSTAN_LOG(kInfo, "stopping on signal {}", signal_number);
  (*server)->Stop();
  return 0;
}
