#include "server/coordinator/config.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

// Errors as values, not as exceptions.
#define TOML_EXCEPTIONS 0
#include <sys/un.h>
#include <toml++/toml.h>
#include <unistd.h>

namespace capstan::coordinator {
namespace {

struct TextKey {
  std::string_view name;
  std::string ServerConfig::*member;
};
constexpr std::array kTextKeys = {
    TextKey{"data_dir", &ServerConfig::data_dir},
    TextKey{"socket", &ServerConfig::socket},
    TextKey{"vdi_socket", &ServerConfig::vdi_socket},
    TextKey{"server_name", &ServerConfig::server_name},
    TextKey{"machine_name", &ServerConfig::machine_name},
    TextKey{"log_folder", &ServerConfig::log_folder},
    TextKey{"metrics_listen", &ServerConfig::metrics_listen},
    TextKey{"agent_program", &ServerConfig::agent_program},
};

struct NumberKey {
  std::string_view name;
  int ServerConfig::*member;
  int min;
  int max;
};
constexpr int kDay = 86'400;       // seconds
constexpr int kRateMax = 1 << 20;  // MiB/s
// Options travel to the agent as lines of key=value.
constexpr std::string_view kNoOptionKey("=\n\r\0", 4);
constexpr std::string_view kNoOptionValue("\n\0", 2);
constexpr std::array kNumberKeys = {
    NumberKey{"buffer_memory_mb", &ServerConfig::buffer_memory_mb, 16, 1 << 20},
    NumberKey{"device_timeout_s", &ServerConfig::device_timeout_s, 1, kDay},
    NumberKey{"open_timeout_s", &ServerConfig::open_timeout_s, 1, kDay},
    NumberKey{"database_timeout_s", &ServerConfig::database_timeout_s, 1, kDay},
    NumberKey{"log_limit_mb", &ServerConfig::log_limit_mb, 1, 1 << 24},
    NumberKey{"recover_timeout_s", &ServerConfig::recover_timeout_s, 1, kDay},
    NumberKey{"checkpoint_s", &ServerConfig::checkpoint_s, 1, kDay},
    NumberKey{"checkpoint_mb", &ServerConfig::checkpoint_mb, 1, 1 << 20},
    NumberKey{"agent_lease_s", &ServerConfig::agent_lease_s, 2, 3'600},
    NumberKey{"virtual_device_wait_s", &ServerConfig::virtual_device_wait_s, 0, kDay},
};

constexpr std::array<std::pair<std::string_view, LogLevel>, 4> kLogLevels = {{
    {"debug", LogLevel::kDebug},
    {"info", LogLevel::kInfo},
    {"warning", LogLevel::kWarning},
    {"error", LogLevel::kError},
}};

// Reads one file; every error names its line.
class FileReader {
 public:
  FileReader(const std::string& path, ServerConfig& config) : path_(path), config_(config) {}

  Status Read(const toml::table& file) {
    for (const auto& [key, value] : file) {
      CAPSTAN_RETURN_IF_ERROR(ReadKey(key, value));
    }
    return OkStatus();
  }

 private:
  template <typename... Args>
  Status ErrorAt(const toml::source_region& where, fmt::format_string<Args...> format,
                 Args&&... args) const {
    return Error(Code::kInvalidArgument, "{}, line {}: {}", path_, where.begin.line,
                 fmt::format(format, std::forward<Args>(args)...));
  }

  Status ReadKey(const toml::key& key, const toml::node& value) {
    const auto name = key.str();
    for (const TextKey& known : kTextKeys) {
      if (known.name == name) {
        return ReadText(name, value, &(config_.*known.member));
      }
    }
    for (const NumberKey& known : kNumberKeys) {
      if (known.name == name) {
        return ReadNumber(known, value);
      }
    }
    if (name == "log_level") {
      return ReadLogLevel(value);
    }
    if (name == "authentication") {
      return ReadAuthentication(value);
    }
    if (name == "discovery_folders") {
      return ReadFolders(name, value, &config_.discovery_folders);
    }
    if (name == "start_agents") {
      return ReadFlag(name, value, &config_.start_agents);
    }
    if (name == "metrics_allow_remote") {
      return ReadFlag(name, value, &config_.metrics_allow_remote);
    }
    if (name == "agent") {
      return ReadAgents(value);
    }
    if (name == "drive_map") {
      return ReadDriveMap(value);
    }
    return ErrorAt(key.source(), "unknown key '{}'", name);
  }

  Status ReadFolders(std::string_view name, const toml::node& value,
                     std::vector<std::string>* out) const {
    const toml::array* const list = value.as_array();
    if (list == nullptr) {
      return ErrorAt(value.source(), "{} must be a list of absolute paths", name);
    }
    out->clear();
    for (const toml::node& each : *list) {
      const auto path = each.value_exact<std::string>();
      if (!path || !path->starts_with('/')) {
        return ErrorAt(each.source(), "{} must be a list of absolute paths", name);
      }
      out->push_back(*path);
    }
    return OkStatus();
  }

  Status ReadText(std::string_view name, const toml::node& value, std::string* out) const {
    const auto text = value.value_exact<std::string>();
    if (!text || text->empty()) {
      return ErrorAt(value.source(), "{} must be a text that is not empty", name);
    }
    *out = *text;
    return OkStatus();
  }

  Status ReadFlag(std::string_view name, const toml::node& value, bool* out) const {
    const auto flag = value.value_exact<bool>();
    if (!flag) {
      return ErrorAt(value.source(), "{} must be true or false", name);
    }
    *out = *flag;
    return OkStatus();
  }

  Status ReadNumber(const NumberKey& key, const toml::node& value) {
    return ReadWholeNumber(key.name, value, {key.min, key.max}, &(config_.*key.member));
  }

  Status ReadWholeNumber(std::string_view name, const toml::node& value, std::pair<int, int> limits,
                         int* out) const {
    const auto number = value.value_exact<std::int64_t>();
    if (!number || *number < limits.first || *number > limits.second) {
      return ErrorAt(value.source(), "{} must be a whole number from {} to {}", name, limits.first,
                     limits.second);
    }
    *out = static_cast<int>(*number);
    return OkStatus();
  }

  Status ReadLogLevel(const toml::node& value) {
    const auto text = value.value_exact<std::string>();
    for (const auto& [name, level] : kLogLevels) {
      if (text && *text == name) {
        config_.log_level = level;
        return OkStatus();
      }
    }
    return ErrorAt(value.source(), "log_level must be 'debug', 'info', 'warning' or 'error'");
  }

  Status ReadAuthentication(const toml::node& value) {
    const auto text = value.value_exact<std::string>();
    if (!text || (*text != "none" && *text != "password")) {
      return ErrorAt(value.source(), "authentication must be 'none' or 'password'");
    }
    config_.authentication =
        *text == "password" ? Authentication::kPassword : Authentication::kNone;
    return OkStatus();
  }

  Status ReadDriveMap(const toml::node& value) {
    const toml::table* const table = value.as_table();
    if (table == nullptr) {
      return ErrorAt(value.source(),
                     "drives are written as [drive_map] and lines of \"e:\" = \"/srv/e\"");
    }
    std::map<std::string, std::string> entries;
    for (const auto& [key, entry] : *table) {
      CAPSTAN_RETURN_IF_ERROR(ReadText(key.str(), entry, &entries[std::string(key.str())]));
    }
    auto drive_map = DriveMap::Create(entries);
    if (!drive_map.ok()) {
      return ErrorAt(value.source(), "{}", drive_map.status().message())
          .WithHint(std::string(drive_map.status().hint()));
    }
    config_.drive_map = std::move(drive_map).value();
    return OkStatus();
  }

  Status ReadAgents(const toml::node& value) {
    const toml::array* entries = value.as_array();
    if (entries == nullptr) {
      return ErrorAt(value.source(), "agents are written as [[agent]], with two brackets");
    }
    config_.agents.clear();
    for (const toml::node& entry : *entries) {
      const toml::table* table = entry.as_table();
      if (table == nullptr) {
        return ErrorAt(entry.source(), "agents are written as [[agent]], with two brackets");
      }
      CAPSTAN_RETURN_IF_ERROR(ReadAgent(*table));
    }
    return OkStatus();
  }

  Status ReadPluginOptions(const toml::node& value, AgentConfig* agent) const {
    const toml::table* const table = value.as_table();
    if (table == nullptr) {
      return ErrorAt(value.source(), "options are written as options = {{ key = \"value\", ... }}");
    }
    for (const auto& [key, entry] : *table) {
      std::string text;
      if (const auto number = entry.value_exact<std::int64_t>()) {
        text = fmt::format("{}", *number);
      } else if (const auto flag = entry.value_exact<bool>()) {
        text = *flag ? "true" : "false";
      } else if (const auto string = entry.value_exact<std::string>()) {
        text = *string;
      } else {
        return ErrorAt(entry.source(), "option '{}' must be a text, a whole number, true or false",
                       key.str());
      }
      if (key.str().empty() || key.str().find_first_of(kNoOptionKey) != std::string_view::npos ||
          text.find_first_of(kNoOptionValue) != std::string::npos) {
        return ErrorAt(entry.source(), "option '{}' has characters that options cannot have",
                       key.str());
      }
      agent->options.emplace_back(key.str(), std::move(text));
    }
    return OkStatus();
  }

  Status ReadAgent(const toml::table& table) {
    AgentConfig agent;
    for (const auto& [key, value] : table) {
      if (key.str() == "name") {
        CAPSTAN_RETURN_IF_ERROR(ReadText("name", value, &agent.name));
      } else if (key.str() == "plugin") {
        CAPSTAN_RETURN_IF_ERROR(ReadText("plugin", value, &agent.plugin));
      } else if (key.str() == "options") {
        CAPSTAN_RETURN_IF_ERROR(ReadPluginOptions(value, &agent));
      } else if (key.str() == "max_rate_mb") {
        CAPSTAN_RETURN_IF_ERROR(
            ReadWholeNumber("max_rate_mb", value, {0, kRateMax}, &agent.max_rate_mb));
      } else if (key.str() == "retry_for_s") {
        CAPSTAN_RETURN_IF_ERROR(
            ReadWholeNumber("retry_for_s", value, {0, kDay}, &agent.retry_for_s.emplace()));
      } else {
        return ErrorAt(key.source(), "unknown key '{}' of an agent", key.str());
      }
    }
    if (agent.plugin.empty()) {
      return ErrorAt(table.source(), "an agent needs a plugin");
    }
    if (agent.name.empty()) {
      agent.name = agent.plugin;
    }
    config_.agents.push_back(std::move(agent));
    return OkStatus();
  }

  const std::string& path_;
  ServerConfig& config_;
};

Result<std::string> HostName() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) {
    return OsError(errno, "unable to read the host's name");
  }
  return std::string(name.data());
}

Result<std::string> FolderOfProgram() {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size < 0) {
    return OsError(errno, "unable to read '/proc/self/exe'");
  }
  const std::string_view program(path.data(), static_cast<std::size_t>(size));
  return std::string(program.substr(0, program.find_last_of('/')));
}

Status MakeAbsolute(std::string* path) {
  if (path->front() == '/') {
    return OkStatus();
  }
  std::array<char, 4096> here{};
  if (::getcwd(here.data(), here.size()) == nullptr) {
    return OsError(errno, "unable to find the working directory");
  }
  *path = fmt::format("{}/{}", here.data(), *path);
  return OkStatus();
}

Status CheckSocketPath(std::string_view key, const std::string& path) {
  constexpr std::size_t kSizeMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() > kSizeMax) {
    return Error(Code::kInvalidArgument, "{} '{}' has {} bytes, a socket's path at most {}", key,
                 path, path.size(), kSizeMax)
        .WithHint("name a shorter path, for example in /run/capstan");
  }
  return OkStatus();
}

// "ADDRESS:PORT", with an address that only this machine reaches unless others are allowed.
Status CheckMetricsListen(const ServerConfig& config) {
  const std::string_view text = config.metrics_listen;
  if (text.empty()) {
    return OkStatus();
  }
  const std::size_t colon = text.rfind(':');
  const std::string_view host = text.substr(0, colon == std::string_view::npos ? 0 : colon);
  const std::string_view digits =
      colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  int port = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (host.empty() || digits.empty() || parsed.ec != std::errc() ||
      parsed.ptr != digits.data() + digits.size() || port < 1 || port > 65'535) {
    return Error(Code::kInvalidArgument, "metrics_listen '{}' is not ADDRESS:PORT", text)
        .WithHint("for example 127.0.0.1:9464");
  }
  const bool local = host == "localhost" || host == "[::1]" || host.starts_with("127.");
  if (!local && !config.metrics_allow_remote) {
    return Error(Code::kInvalidArgument,
                 "metrics_listen '{}' is open to other machines, and metrics ask for no password",
                 text)
        .WithHint("name 127.0.0.1, or set metrics_allow_remote = true");
  }
  return OkStatus();
}

Status CompletePaths(ServerConfig* config) {
  while (config->data_dir.size() > 1 && config->data_dir.back() == '/') {
    config->data_dir.pop_back();
  }
  CAPSTAN_RETURN_IF_ERROR(MakeAbsolute(&config->data_dir));
  if (config->socket.empty()) {
    config->socket = config->data_dir + "/capstand.sock";
  }
  CAPSTAN_RETURN_IF_ERROR(MakeAbsolute(&config->socket));
  if (config->log_folder.empty()) {
    config->log_folder = config->data_dir + "/log_spool";
  }
  CAPSTAN_RETURN_IF_ERROR(MakeAbsolute(&config->log_folder));
  if (config->vdi_socket.empty()) {
    config->vdi_socket = config->socket.substr(0, config->socket.find_last_of('/')) + "/vdi.sock";
  }
  CAPSTAN_RETURN_IF_ERROR(MakeAbsolute(&config->vdi_socket));
  if (config->agent_program.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::string folder, FolderOfProgram());
    config->agent_program = folder + "/capstan-agent";
  }
  return MakeAbsolute(&config->agent_program);
}

}  // namespace

std::string OwnerSocketFolder(const ServerConfig& config) {
  return config.data_dir + "/owner";
}

std::string OwnerSocket(const ServerConfig& config) {
  return OwnerSocketFolder(config) + "/capstand.sock";
}

int RetryForDefault(const ServerConfig& config) {
  constexpr int kEnough = 30;
  return std::min({config.device_timeout_s / 2, config.open_timeout_s / 2, kEnough});
}

Status ApplyFile(const std::string& path, ServerConfig* config) {
  if (::access(path.c_str(), R_OK) != 0) {
    return OsError(errno, fmt::format("unable to read the configuration '{}'", path));
  }
  const toml::parse_result file = toml::parse_file(path);
  if (!file) {
    return Error(Code::kInvalidArgument, "{}, line {}: {}", path, file.error().source().begin.line,
                 file.error().description());
  }
  return FileReader(path, *config).Read(file.table());
}

Status Complete(ServerConfig* config) {
  if (config->data_dir.empty()) {
    return Error(Code::kInvalidArgument, "no data directory is configured")
        .WithHint(
            "start capstand with --data-dir DIRECTORY, or put data_dir into the file that "
            "--config names");
  }
  CAPSTAN_RETURN_IF_ERROR(CompletePaths(config));
  CAPSTAN_RETURN_IF_ERROR(CheckSocketPath("socket", config->socket));
  CAPSTAN_RETURN_IF_ERROR(CheckSocketPath("vdi_socket", config->vdi_socket));
  if (config->authentication == Authentication::kPassword) {
    CAPSTAN_RETURN_IF_ERROR(CheckSocketPath("the owner's socket", OwnerSocket(*config)));
  }
  if (config->socket == config->vdi_socket) {
    return Error(Code::kInvalidArgument, "socket and vdi_socket are both '{}'", config->socket);
  }
  CAPSTAN_RETURN_IF_ERROR(CheckMetricsListen(*config));
  std::set<std::string_view> names;
  for (const AgentConfig& agent : config->agents) {
    if (!names.insert(agent.name).second) {
      return Error(Code::kInvalidArgument, "two agents are named '{}'", agent.name);
    }
    if (agent.retry_for_s.value_or(0) >= config->device_timeout_s) {
      return Error(Code::kInvalidArgument,
                   "retry_for_s of agent '{}' is {}, but a device fails after device_timeout_s, {}",
                   agent.name, *agent.retry_for_s, config->device_timeout_s)
          .WithHint("raise device_timeout_s above the longest outage that backups shall survive");
    }
  }
  if (config->server_name.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(config->server_name, HostName());
  }
  if (config->machine_name.empty()) {
    CAPSTAN_ASSIGN_OR_RETURN(config->machine_name, HostName());
  }
  return OkStatus();
}

}  // namespace capstan::coordinator
