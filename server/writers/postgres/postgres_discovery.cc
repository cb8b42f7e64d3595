#include "server/writers/postgres/postgres_discovery.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

namespace capstan::writers {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSocketPrefix = ".s.PGSQL.";
constexpr std::string_view kLockSuffix = ".lock";
constexpr int kFolderDepthMax = 2;

// What a running server has written to its pid file, or to that of its socket.
struct Running {
  std::string data_directory;
  std::string port;
  std::string socket_folder;
};

bool IsAlive(pid_t pid) {
  return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM);
}

// Both files begin alike: process, data directory, start, port, folder of the socket.
std::optional<Running> ReadPidFile(const std::string& path) {
  std::ifstream file(path);
  std::string pid, data_directory, start, port, socket_folder;
  std::getline(file, pid);
  std::getline(file, data_directory);
  std::getline(file, start);
  std::getline(file, port);
  std::getline(file, socket_folder);
  if (data_directory.empty() || !IsAlive(static_cast<pid_t>(std::atol(pid.c_str())))) {
    return std::nullopt;
  }
  return Running{data_directory, port, socket_folder};
}

std::string Resolve(const std::string& path) {
  std::error_code error;
  const fs::path resolved = fs::canonical(path, error);
  return error ? path : resolved.string();
}

bool IsDataDirectory(const std::string& path) {
  return ::access((path + "/PG_VERSION").c_str(), R_OK) == 0 &&
         ::access((path + "/global/pg_control").c_str(), F_OK) == 0;
}

void FindDataDirectories(const std::string& folder, int depth, std::set<std::string>* found) {
  if (IsDataDirectory(folder)) {
    found->insert(Resolve(folder));
    return;
  }
  std::error_code error;
  fs::directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error);
  for (; depth < kFolderDepthMax && !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) {
      FindDataDirectories(entry->path().string(), depth + 1, found);
    }
  }
}

void FindBySockets(const std::string& folder, std::map<std::string, Running>* running) {
  std::error_code error;
  fs::directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kSocketPrefix) || !name.ends_with(kLockSuffix)) {
      continue;
    }
    if (auto server = ReadPidFile(entry->path().string())) {
      server->port = name.substr(kSocketPrefix.size(),
                                 name.size() - kSocketPrefix.size() - kLockSuffix.size());
      server->socket_folder = folder;
      running->emplace(Resolve(server->data_directory), *server);
    }
  }
}

// The first process of a server has its data directory as working directory.
void FindByProcesses(std::map<std::string, Running>* running) {
  std::error_code error;
  fs::directory_iterator entry("/proc", fs::directory_options::skip_permission_denied, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string pid = entry->path().filename().string();
    std::ifstream name_file(entry->path() / "comm");
    std::string name;
    std::getline(name_file, name);
    if (name != "postgres" && name != "postmaster") {
      continue;
    }
    std::error_code unreadable;
    const std::string folder = fs::read_symlink(entry->path() / "cwd", unreadable).string();
    std::ifstream pid_file(folder + "/postmaster.pid");
    std::string first_pid;
    std::getline(pid_file, first_pid);
    if (unreadable || first_pid != pid) {
      continue;  // one of its other processes
    }
    if (auto server = ReadPidFile(folder + "/postmaster.pid")) {
      running->emplace(Resolve(folder), *server);
    }
  }
}

std::string VersionOf(const std::string& data_directory) {
  std::ifstream file(data_directory + "/PG_VERSION");
  std::string version;
  std::getline(file, version);
  return version;
}

DiscoveredDatabase Tell(const std::string& data_directory, const Running* server) {
  const std::string version = VersionOf(data_directory);
  const std::string version_text = version.empty() ? "" : " " + version;
  DiscoveredDatabase found;
  found.name = fmt::format("postgresql{}{}_{}", version.empty() ? "" : "_", version,
                           fs::path(data_directory).filename().string());
  if (server != nullptr) {
    // Without a socket it listens on TCP alone.
    const std::string& host = server->socket_folder.empty() ? "localhost" : server->socket_folder;
    found.location = fmt::format("host={} port={}", host, server->port);
    found.state = fmt::format("running, PostgreSQL{} on port {} in '{}'", version_text,
                              server->port, data_directory);
    return found;
  }
  found.location = data_directory;  // whatever port it will be started on
  found.state = fmt::format("not running, PostgreSQL{} in '{}'", version_text, data_directory);
  return found;
}

}  // namespace

DiscoveryPlaces UsualPlaces() {
  return {.socket_folders = {"/var/run/postgresql", "/tmp"},
          .cluster_folders = {"/var/lib/postgresql", "/var/lib/pgsql", "/usr/local/pgsql"},
          .processes = true};
}

Result<std::vector<DiscoveredDatabase>> DiscoverClusters(std::span<const std::string> folders,
                                                         const DiscoveryPlaces& places) {
  std::map<std::string, Running> running;  // by data directory
  for (const std::string& folder : places.socket_folders) {
    FindBySockets(folder, &running);
  }
  if (places.processes) {
    FindByProcesses(&running);
  }
  std::set<std::string> data_directories;
  for (const auto& [data_directory, server] : running) {
    data_directories.insert(data_directory);
  }
  for (const std::string& folder : places.cluster_folders) {
    FindDataDirectories(folder, 0, &data_directories);
  }
  for (const std::string& folder : folders) {
    FindDataDirectories(folder, 0, &data_directories);
  }
  std::vector<DiscoveredDatabase> found;
  std::set<std::string> names;
  for (const std::string& data_directory : data_directories) {
    if (const auto server = ReadPidFile(data_directory + "/postmaster.pid")) {
      running.emplace(data_directory, *server);
    }
    const auto server = running.find(data_directory);
    found.push_back(Tell(data_directory, server == running.end() ? nullptr : &server->second));
    std::string& name = found.back().name;
    const std::string stem = name;
    for (int number = 2; !names.insert(name).second; ++number) {
      name = fmt::format("{}_{}", stem, number);
    }
  }
  return found;
}

}  // namespace capstan::writers
