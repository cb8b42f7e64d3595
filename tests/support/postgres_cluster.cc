#include "tests/support/postgres_cluster.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vdi/base/unique_fd.h"

namespace capstan::test {
namespace {

constexpr const char* kUser = "postgres";
constexpr std::chrono::milliseconds kPoll{5};
constexpr std::chrono::seconds kStopWait{60};

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
};

// Whom to become before anything of PostgreSQL is run; nullopt: nobody else.
std::optional<User> OtherUser() {
  if (::geteuid() != 0) {
    return std::nullopt;
  }
  const passwd* const entry = ::getpwnam(kUser);
  if (entry == nullptr) {
    return std::nullopt;
  }
  return User{entry->pw_uid, entry->pw_gid};
}

struct Command {
  std::vector<std::string> arguments;  // the program first
  std::vector<std::string> environment;
  int output_fd = -1;         // standard output and error
  int signal_at_our_end = 0;  // sent to it when the thread that started it ends
};

// Everything that allocates is done before the fork.
Result<pid_t> Spawn(const Command& command) {
  std::vector<char*> arguments;
  for (const std::string& argument : command.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::vector<char*> environment;
  for (const std::string& variable : command.environment) {
    environment.push_back(const_cast<char*>(variable.c_str()));
  }
  environment.push_back(nullptr);
  const std::optional<User> user = OtherUser();
  const pid_t pid = ::fork();
  if (pid < 0) {
    return OsError(errno, "fork");
  }
  if (pid > 0) {
    return pid;
  }
  if (user &&
      (::setgroups(0, nullptr) != 0 || ::setgid(user->gid) != 0 || ::setuid(user->uid) != 0)) {
    ::_exit(126);
  }
  if (command.signal_at_our_end != 0) {
    ::prctl(PR_SET_PDEATHSIG, command.signal_at_our_end);
  }
  const int null_fd = ::open("/dev/null", O_RDONLY);
  ::dup2(null_fd, STDIN_FILENO);
  ::dup2(command.output_fd, STDOUT_FILENO);
  ::dup2(command.output_fd, STDERR_FILENO);
  ::close_range(3, ~0U, 0);
  if (::chdir("/") == 0) {
    ::execve(arguments[0], arguments.data(), environment.data());
  }
  ::_exit(127);
}

Status WaitFor(pid_t pid, std::string_view what) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) {
      return OsError(errno, "waitpid");
    }
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return OkStatus();
  }
  return Error(Code::kUnknown, "{} ended with status {:#x}", what, status);
}

std::vector<std::string> BaseEnvironment() {
  return {"LC_ALL=C", "TZ=UTC", "PATH=/usr/bin:/bin"};
}

Result<std::string> RunToEnd(Command command) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return OsError(errno, "pipe");
  }
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  command.output_fd = write_end.get();
  CAPSTAN_ASSIGN_OR_RETURN(const pid_t pid, Spawn(command));
  write_end.Reset();
  std::string output;
  std::array<char, 4096> buffer{};
  for (ssize_t count = 0; (count = ::read(read_end.get(), buffer.data(), buffer.size())) != 0;) {
    if (count > 0) {
      output.append(buffer.data(), static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      break;
    }
  }
  if (Status status = WaitFor(pid, command.arguments[0]); !status.ok()) {
    return Annotate(std::move(status), output);
  }
  return output;
}

std::string Program(const std::string& name) {
  return PostgresCluster::BinaryFolder() + "/" + name;
}

}  // namespace

std::string PostgresCluster::BinaryFolder() {
  return "/usr/lib/postgresql/15/bin";
}

bool PostgresCluster::Available() {
  return ::access(Program("postgres").c_str(), X_OK) == 0 &&
         (::geteuid() != 0 || OtherUser().has_value());
}

Status PostgresCluster::GiveToPostgres(const std::string& path) {
  const std::optional<User> user = OtherUser();
  if (!user) {
    return OkStatus();
  }
  std::error_code error;
  const auto give = [&user](const std::string& leaf) {
    return ::lchown(leaf.c_str(), user->uid, user->gid) == 0 ? OkStatus() : OsError(errno, leaf);
  };
  CAPSTAN_RETURN_IF_ERROR(give(path));
  if (!std::filesystem::is_directory(path, error)) {
    return OkStatus();
  }
  for (auto entry = std::filesystem::recursive_directory_iterator(path, error);
       !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    CAPSTAN_RETURN_IF_ERROR(give(entry->path().string()));
  }
  return OkStatus();
}

Status PostgresCluster::MakeFolders(const std::string& parent) {
  std::error_code error;
  folder_ = (parent.empty() ? std::filesystem::temp_directory_path(error).string() : parent) +
            "/capstan-pg-XXXXXX";
  if (::mkdtemp(folder_.data()) == nullptr) {
    return OsError(errno, folder_);
  }
  ::chmod(folder_.c_str(), 0755);  // anybody may come to the socket
  socket_folder_ = folder_ + "/s";
  if (::mkdir(socket_folder_.c_str(), 0755) != 0) {
    return OsError(errno, socket_folder_);
  }
  return GiveToPostgres(folder_);
}

Result<std::unique_ptr<PostgresCluster>> PostgresCluster::Create(const Options& options) {
  std::unique_ptr<PostgresCluster> cluster(new PostgresCluster());
  CAPSTAN_RETURN_IF_ERROR(cluster->MakeFolders(options.parent));
  cluster->data_directory_ = cluster->folder_ + "/data";
  CAPSTAN_RETURN_IF_ERROR(cluster->Initialize(options));
  CAPSTAN_RETURN_IF_ERROR(cluster->Start());
  return cluster;
}

Result<std::unique_ptr<PostgresCluster>> PostgresCluster::Adopt(const std::string& data_directory,
                                                                std::vector<std::string> settings) {
  std::unique_ptr<PostgresCluster> cluster(new PostgresCluster());
  CAPSTAN_RETURN_IF_ERROR(cluster->MakeFolders(""));
  cluster->data_directory_ = data_directory;
  for (std::string& setting : settings) {
    cluster->extra_arguments_.emplace_back("-c");
    cluster->extra_arguments_.push_back(std::move(setting));
  }
  CAPSTAN_RETURN_IF_ERROR(GiveToPostgres(data_directory));
  return cluster;
}

Status PostgresCluster::Initialize(const Options& options) {
  std::vector<std::string> arguments = {"-D",
                                        data_directory_,
                                        "-U",
                                        kUser,
                                        "-A",
                                        "trust",
                                        "-E",
                                        "UTF8",
                                        "--locale=C",
                                        "--no-sync",
                                        "--no-instructions",
                                        fmt::format("--wal-segsize={}", options.wal_segment_mib)};
  if (options.data_checksums) {
    arguments.emplace_back("-k");
  }
  CAPSTAN_RETURN_IF_ERROR(Run("initdb", arguments).status());
  CAPSTAN_RETURN_IF_ERROR(
      AppendSettings({"fsync = off", "shared_buffers = 32MB", "wal_level = replica",
                      "max_wal_senders = 8", "max_replication_slots = 8", "max_connections = 40",
                      "autovacuum_naptime = 1s", "min_wal_size = 32MB", "max_wal_size = 256MB",
                      "jit = off", "dynamic_shared_memory_type = mmap", "hot_standby_feedback = on",
                      "max_standby_streaming_delay = -1"}));
  return AppendSettings(options.settings);
}

Status PostgresCluster::AppendSettings(const std::vector<std::string>& settings) {
  std::ofstream file(data_directory_ + "/postgresql.conf", std::ios::app);
  for (const std::string& setting : settings) {
    file << setting << "\n";
  }
  return file.flush() ? OkStatus() : Error(Code::kUnknown, "unable to write postgresql.conf");
}

Result<std::unique_ptr<PostgresCluster>> PostgresCluster::MakeStandby() {
  std::unique_ptr<PostgresCluster> standby(new PostgresCluster());
  CAPSTAN_RETURN_IF_ERROR(standby->MakeFolders(""));
  standby->data_directory_ = standby->folder_ + "/data";
  std::vector<std::string> arguments = {
      "-D", standby->data_directory_, "--checkpoint=fast", "--no-sync",
      "-R", "--wal-method=stream"};
  CAPSTAN_ASSIGN_OR_RETURN(
      const std::string locations,
      Sql("SELECT string_agg(pg_tablespace_location(oid), ',') FROM pg_tablespace "
          "WHERE pg_tablespace_location(oid) <> ''"));
  std::istringstream list(locations);
  int number = 0;
  for (std::string location; std::getline(list, location, ',');) {
    arguments.push_back(
        fmt::format("--tablespace-mapping={}={}/ts{}", location, standby->folder_, number++));
  }
  CAPSTAN_RETURN_IF_ERROR(Run("pg_basebackup", arguments).status());
  CAPSTAN_RETURN_IF_ERROR(standby->Start());
  CAPSTAN_RETURN_IF_ERROR(standby->WaitForReplay(*this));
  return standby;
}

PostgresCluster::~PostgresCluster() {
  if (running()) {
    (void)Stop(Shutdown::kImmediate);
  }
  other_folders_.push_back(folder_);
  for (const std::string& folder : other_folders_) {
    std::error_code ignored;
    if (!folder.empty()) {
      std::filesystem::remove_all(folder, ignored);
    }
  }
}

Status PostgresCluster::Start(std::chrono::seconds wait) {
  if (running()) {
    return OkStatus();
  }
  const std::string log = folder_ + "/log";
  const UniqueFd output(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  Command command{
      .arguments = {Program("postgres"), "-D", data_directory_, "-c", "listen_addresses=", "-c",
                    "port=5432", "-c", "unix_socket_directories=" + socket_folder_},
      .environment = BaseEnvironment(),
      .output_fd = output.get(),
      .signal_at_our_end = SIGQUIT};
  command.arguments.insert(command.arguments.end(), extra_arguments_.begin(),
                           extra_arguments_.end());
  CAPSTAN_ASSIGN_OR_RETURN(pid_, Spawn(command));
  const auto deadline = std::chrono::steady_clock::now() + wait;
  while (PQping(conninfo().c_str()) != PQPING_OK) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return Error(Code::kUnavailable, "the server did not start: {}", Log());
    }
    if (std::chrono::steady_clock::now() > deadline) {
      return Error(Code::kDeadlineExceeded, "the server does not take connections: {}", Log());
    }
    std::this_thread::sleep_for(kPoll);
  }
  return OkStatus();
}

Status PostgresCluster::Stop(Shutdown how) {
  if (!running()) {
    return OkStatus();
  }
  ::kill(pid_, how == Shutdown::kFast ? SIGINT : SIGQUIT);
  const auto deadline = std::chrono::steady_clock::now() + kStopWait;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(pid_, SIGQUIT);
      (void)WaitFor(std::exchange(pid_, -1), "postgres");
      return Error(Code::kDeadlineExceeded, "the server did not stop: {}", Log());
    }
    std::this_thread::sleep_for(kPoll);
  }
  pid_ = -1;
  return OkStatus();
}

Status PostgresCluster::Promote() {
  CAPSTAN_ASSIGN_OR_RETURN(const std::string done, Sql("SELECT pg_promote(true, 60)"));
  return done == "t" ? OkStatus() : Error(Code::kUnavailable, "the standby was not promoted");
}

Result<std::string> PostgresCluster::Sql(const std::string& statements,
                                         const std::string& database) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(
      PQconnectdb(conninfo(database).c_str()), &PQfinish);
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    return Error(Code::kUnavailable, "{}", PQerrorMessage(connection.get()));
  }
  PQsetNoticeProcessor(
      connection.get(), [](void*, const char*) {}, nullptr);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(
      PQexec(connection.get(), statements.c_str()), &PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    return Error(Code::kUnknown, "{}", PQresultErrorMessage(result.get()));
  }
  if (PQntuples(result.get()) == 0 || PQnfields(result.get()) == 0) {
    return std::string();
  }
  return std::string(PQgetvalue(result.get(), 0, 0));
}

Result<std::string> PostgresCluster::AddTablespace(const std::string& name,
                                                   const std::string& parent) {
  std::string location =
      (parent.empty() ? folder_ : parent) + "/capstan-tablespace-" + name + "-XXXXXX";
  if (::mkdtemp(location.data()) == nullptr) {
    return OsError(errno, location);
  }
  other_folders_.push_back(location);
  CAPSTAN_RETURN_IF_ERROR(GiveToPostgres(location));
  CAPSTAN_RETURN_IF_ERROR(
      Sql(fmt::format("CREATE TABLESPACE {} LOCATION '{}'", name, location)).status());
  return location;
}

Result<std::string> PostgresCluster::Run(const std::string& program,
                                         const std::vector<std::string>& arguments) const {
  Command command{.arguments = {Program(program)}, .environment = BaseEnvironment()};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  command.environment.push_back("PGHOST=" + socket_folder_);
  command.environment.push_back(fmt::format("PGPORT={}", port()));
  command.environment.push_back(fmt::format("PGUSER={}", kUser));
  command.environment.push_back("PGDATABASE=postgres");
  return RunToEnd(std::move(command));
}

Status PostgresCluster::WaitForReplay(PostgresCluster& primary) {
  CAPSTAN_ASSIGN_OR_RETURN(const std::string lsn, primary.Sql("SELECT pg_current_wal_lsn()"));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (true) {
    const Result<std::string> reached =
        Sql(fmt::format("SELECT pg_last_wal_replay_lsn() >= '{}' AND "
                        "EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')",
                        lsn));
    if (reached.ok() && *reached == "t") {
      return OkStatus();
    }
    if (std::chrono::steady_clock::now() > deadline) {
      return Error(Code::kDeadlineExceeded, "the standby does not follow: {}", Log());
    }
    std::this_thread::sleep_for(kPoll);
  }
}

std::string PostgresCluster::conninfo(const std::string& database) const {
  return fmt::format("host={} port={} user={} dbname={}", socket_folder_, port(), kUser, database);
}

std::string PostgresCluster::Log() const {
  std::ifstream file(folder_ + "/log");
  std::stringstream text;
  text << file.rdbuf();
  const std::string all = text.str();
  return all.substr(all.size() - std::min<std::size_t>(all.size(), 2000));
}

}  // namespace capstan::test
