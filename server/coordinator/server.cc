#include "server/coordinator/server.h"

#include <cerrno>
#include <chrono>
#include <map>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/catalog/catalog.h"
#include "server/coordinator/agent_directory.h"
#include "server/coordinator/agent_supervisor.h"
#include "server/coordinator/coordinator_service.h"
#include "server/coordinator/credential_store.h"
#include "server/coordinator/database_statements.h"
#include "server/coordinator/live_tables.h"
#include "server/coordinator/login_gate.h"
#include "server/coordinator/login_store.h"
#include "server/coordinator/media_devices.h"
#include "server/coordinator/metrics.h"
#include "server/coordinator/requester_service.h"
#include "server/coordinator/statement_executor.h"
#include "server/engine/engine.h"
#include "server/writers/postgres/postgres_writer.h"
#include "server/writers/sqlite/sqlite_writer.h"
#include "vdi/base/log.h"
#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"
#include "vdi/rendezvous.h"

namespace capstan::coordinator {
namespace {

// How long running batches get to say that they were cancelled.
constexpr std::chrono::seconds kStopGrace{10};
constexpr std::chrono::seconds kSettleRetry{10};

Status MakeDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0750) != 0 && errno != EEXIST) {
    return OsError(errno, fmt::format("unable to create the directory '{}'", path));
  }
  return OkStatus();
}

bool AnswersAt(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // EAGAIN: alive, but its queue of connections is full.
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
         errno == EAGAIN;
}

engine::Settings SettingsOf(const ServerConfig& config) {
  engine::Settings settings;
  settings.server_name = config.server_name;
  settings.machine_name = config.machine_name;
  settings.buffer_memory_limit = static_cast<std::uint64_t>(config.buffer_memory_mb) << 20;
  settings.timeouts.device = std::chrono::seconds(config.device_timeout_s);
  settings.timeouts.open = std::chrono::seconds(config.open_timeout_s);
  settings.timeouts.database = std::chrono::seconds(config.database_timeout_s);
  settings.timeouts.recover = std::chrono::seconds(config.recover_timeout_s);
  settings.checkpoint_interval = std::chrono::seconds(config.checkpoint_s);
  settings.checkpoint_bytes = static_cast<std::uint64_t>(config.checkpoint_mb) << 20;
  return settings;
}

class WiredServer final : public Server {
 public:
  explicit WiredServer(const ServerConfig& config) : config_(config) {}
  ~WiredServer() override { Stop(); }

  Status Wire() {
    CAPSTAN_RETURN_IF_ERROR(MakeDirectory(config_.data_dir));
    CAPSTAN_RETURN_IF_ERROR(MakeDirectory(config_.data_dir + "/log"));
    CAPSTAN_ASSIGN_OR_RETURN(catalog_, catalog::Catalog::Open(config_.data_dir + "/catalog.db"));
    CAPSTAN_ASSIGN_OR_RETURN(error_log_,
                             engine::ErrorLog::Open(config_.data_dir + "/log/ERRORLOG"));
    CAPSTAN_ASSIGN_OR_RETURN(rendezvous_, vdi::Rendezvous::Listen({.path = config_.vdi_socket}));
    CAPSTAN_ASSIGN_OR_RETURN(logins_, LoginStore::Open(config_.data_dir + "/logins"));
    CAPSTAN_ASSIGN_OR_RETURN(options_, ServerOptions::Load(*catalog_));
    CAPSTAN_ASSIGN_OR_RETURN(certificates_,
                             transform::CertificateStore::Open(config_.data_dir + "/certificates"));
    credentials_ = std::make_unique<CredentialStore>(config_.data_dir + "/credentials.toml");
    ::setenv("CAPSTAN_CREDENTIALS", credentials_->path().c_str(), 1);  // for agents to inherit
    gate_ = std::make_unique<LoginGate>(
        *logins_, *error_log_,
        LoginGate::Options{.needs_password = config_.authentication == Authentication::kPassword});
    supervisor_ = std::make_unique<AgentSupervisor>(config_);
    agents_ = std::make_unique<AgentDirectory>(AgentDirectoryOptions());
    devices_ = std::make_unique<MediaDevices>(*agents_, *rendezvous_, MediaDevicesOptions());
    engine_ = std::make_unique<engine::Engine>(
        engine::Engine::Parts{.catalog = *catalog_,
                              .jobs = jobs_,
                              .devices = *devices_,
                              .error_log = *error_log_,
                              .writers = ByScheme(writers_),
                              .settings = SettingsOf(config_),
                              .certificates = certificates_.get()});
    engine_->KeepLogs();
    live_tables_ = std::make_unique<LiveTables>(LiveTables::Sources{
        jobs_, *catalog_, *agents_, config_.start_agents ? supervisor_.get() : nullptr,
        *rendezvous_, writers_, *logins_, *options_, *certificates_, config_.server_name});
    executor_ = std::make_unique<StatementExecutor>(StatementExecutor::Parts{
        *engine_, *live_tables_, *logins_, *options_, *certificates_, config_.drive_map,
        *credentials_, counters_, config_.discovery_folders});
    requesters_ = RequesterService::Create({*executor_, jobs_, *gate_}, Entrance::kPublic,
                                           config_.server_name);
    coordinator_ = CoordinatorService::Create(*agents_, config_.vdi_socket);
    CAPSTAN_ASSIGN_OR_RETURN(
        grpc_, Listen(config_.socket, {&requesters_->service(), &coordinator_->service()}));
    if (config_.authentication == Authentication::kPassword) {
      CAPSTAN_RETURN_IF_ERROR(ListenForOwner());
    }
    if (!config_.metrics_listen.empty()) {
      CAPSTAN_ASSIGN_OR_RETURN(
          metrics_,
          MetricsEndpoint::Listen(config_.metrics_listen,
                                  {.counters = counters_,
                                   .jobs = jobs_,
                                   .agents = *agents_,
                                   .supervisor = config_.start_agents ? supervisor_.get() : nullptr,
                                   .writers = writers_}));
    }
    settler_ = std::jthread([this](const std::stop_token& stop) noexcept { SettleLoop(stop); });
    WakeSettler();
    if (config_.start_agents) {
      CAPSTAN_RETURN_IF_ERROR(supervisor_->Start());
    }
    error_log_->Write(0, fmt::format("Capstan is ready on unix:{}", config_.socket));
    return OkStatus();
  }

  void Stop() override {
    if (std::exchange(stopped_, true)) {
      return;
    }
    metrics_.reset();
    if (requesters_) requesters_->Stop();
    if (owner_requesters_) owner_requesters_->Stop();
    jobs_.CancelAll();
    if (settler_.joinable()) {
      settler_.request_stop();
      WakeSettler();
    }
    WaitForJobs();
    if (supervisor_) supervisor_->Stop();
    if (coordinator_) coordinator_->Stop();
    Close(grpc_.get(), config_.socket);
    Close(owner_grpc_.get(), OwnerSocket(config_));
    settler_ = std::jthread();
    if (error_log_) error_log_->Write(0, "Capstan was stopped");
  }

 private:
  // gRPC replaces an existing socket file without asking. One that nobody listens on is what a
  // killed server left behind; one that answers belongs to a live server and is not for us.
  static Result<std::unique_ptr<grpc::Server>> Listen(const std::string& socket,
                                                      const std::vector<grpc::Service*>& services) {
    if (AnswersAt(socket)) {
      return Error(Code::kAlreadyExists, "another server listens on '{}'", socket)
          .WithHint("stop it first, or name another place with --socket and --data-dir");
    }
    grpc::ServerBuilder builder;
    // A requester pings every few seconds while a statement says nothing, to notice a dead server.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
    int port = 0;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials(), &port);
    for (grpc::Service* const service : services) {
      builder.RegisterService(service);
    }
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (server == nullptr || port == 0) {
      return Error(Code::kUnavailable, "unable to listen on '{}'", socket)
          .WithHint("the directory must exist and be writable; --socket names another place");
    }
    if (::chmod(socket.c_str(), 0660) != 0) {
      return OsError(errno, fmt::format("unable to set the mode of '{}'", socket));
    }
    return server;
  }

  // gRPC does not tell who is at the other end of a socket, so the file system keeps others away:
  // the folder has mode 0700 before there is a socket in it.
  Status ListenForOwner() {
    const std::string folder = OwnerSocketFolder(config_);
    CAPSTAN_RETURN_IF_ERROR(MakeDirectory(folder));
    if (::chmod(folder.c_str(), 0700) != 0) {
      return OsError(errno, fmt::format("unable to set the mode of '{}'", folder));
    }
    owner_requesters_ = RequesterService::Create({*executor_, jobs_, *gate_}, Entrance::kOwner,
                                                 config_.server_name);
    CAPSTAN_ASSIGN_OR_RETURN(owner_grpc_,
                             Listen(OwnerSocket(config_), {&owner_requesters_->service()}));
    return OkStatus();
  }

  static void Close(grpc::Server* server, const std::string& socket) {
    if (server != nullptr) {
      server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
      server->Wait();
      ::unlink(socket.c_str());
    }
  }

  void WaitForJobs() {
    const auto deadline = std::chrono::steady_clock::now() + kStopGrace;
    while (!jobs_.List().empty() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  void WakeSettler() {
    MutexLock lock(settle_mutex_);
    settle_wanted_ = true;
    settle_.NotifyAll();
  }

  // Interrupted jobs are settled at the start, again whenever an agent attaches, and now and then:
  // an agent may have been too slow, and be attached all the time.
  void SettleLoop(const std::stop_token& stop) {
    while (true) {
      {
        MutexLock lock(settle_mutex_);
        const auto retry = std::chrono::steady_clock::now() + kSettleRetry;
        while (!settle_wanted_ && settle_.WaitUntil(settle_mutex_, retry)) {
        }
        settle_wanted_ = false;
      }
      if (stop.stop_requested()) {
        return;
      }
      engine_->SettleUnfinishedJobs();
    }
  }

  AgentDirectory::Options AgentDirectoryOptions() {
    return {
        .lease = std::chrono::seconds(config_.agent_lease_s),
        .on_attached = [this] { WakeSettler(); },
        .on_lost = [this](const AgentInfo& agent) { supervisor_->EndHung(agent.name, agent.pid); }};
  }
  MediaDevices::Options MediaDevicesOptions() const {
    return {.virtual_device_wait = std::chrono::seconds(config_.virtual_device_wait_s),
            .server_address = "unix:" + config_.socket,
            .drive_map = config_.drive_map};
  }

  const ServerConfig config_;
  engine::JobRegistry jobs_;
  JobCounters counters_;
  // Every kind of database that this server knows.
  writers::SqliteWriter sqlite_{
      {.folder = config_.log_folder,
       .limit_bytes = static_cast<std::uint64_t>(config_.log_limit_mb) << 20}};
  writers::PostgresWriter postgres_;
  const std::vector<writers::DatabaseWriter*> writers_{&sqlite_, &postgres_};
  std::unique_ptr<catalog::Catalog> catalog_;
  std::unique_ptr<engine::ErrorLog> error_log_;
  std::unique_ptr<LoginStore> logins_;
  std::unique_ptr<CredentialStore> credentials_;
  std::unique_ptr<ServerOptions> options_;
  std::unique_ptr<transform::CertificateStore> certificates_;
  std::unique_ptr<LoginGate> gate_;
  std::unique_ptr<vdi::Rendezvous> rendezvous_;
  std::unique_ptr<AgentSupervisor> supervisor_;
  std::unique_ptr<AgentDirectory> agents_;
  std::unique_ptr<MediaDevices> devices_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<LiveTables> live_tables_;
  std::unique_ptr<StatementExecutor> executor_;
  std::unique_ptr<RequesterService> requesters_;
  std::unique_ptr<RequesterService> owner_requesters_;  // null without passwords
  std::unique_ptr<CoordinatorService> coordinator_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<grpc::Server> owner_grpc_;
  std::unique_ptr<MetricsEndpoint> metrics_;  // null if nobody asked for one
  bool stopped_ = false;

  Mutex settle_mutex_;
  CondVar settle_;
  bool settle_wanted_ CAPSTAN_GUARDED_BY(settle_mutex_) = false;
  std::jthread settler_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::Start(const ServerConfig& config) {
  auto server = std::make_unique<WiredServer>(config);
  CAPSTAN_RETURN_IF_ERROR(server->Wire());
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace capstan::coordinator
