// ServerConfig: what an administrator can set, with its defaults, units and limits.
//
// Built in three steps: the file (ApplyFile), then flags on top of it, then Complete, which fills
// in what follows from the rest and checks the whole. The file is TOML; its keys are the members'
// names, and each [[agent]] is one entry of `agents`:
//
//   buffer_memory_mb = 2048
//   [[agent]]
//   name = "s3"
//   plugin = "s3"
//   options = { endpoint = "https://s3.example.com", region = "eu-1" }
//   [drive_map]
//   "e:" = "/srv/e"
//   "\\\\server\\share" = "/mnt/share"
//
// Threads: plain data.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/coordinator/drive_map.h"
#include "vdi/base/log.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

// An agent that the server starts itself.
struct AgentConfig {
  std::string name;    // unique; default: the plugin's name
  std::string plugin;  // name of an installed plugin, or a path
  // Of the plugin, which alone knows them; keys are unique. Numbers and truth values of the file
  // are here as text.
  std::vector<std::pair<std::string, std::string>> options = {};
  int max_rate_mb = 0;  // MiB/s that all devices of the agent may move together, 0 = no limit
  // What fails for a while is tried again for so long, 0..86400 and below device_timeout_s;
  // default: RetryForDefault.
  std::optional<int> retry_for_s = {};
};

// Whether requesters must show a password.
enum class Authentication {
  kNone,      // who may open the socket may run statements, under any name
  kPassword,  // every request needs a login of the server and its password
};

struct ServerConfig {
  std::string data_dir;    // catalog, logs and, by default, the sockets; must be set
  std::string socket;      // Unix socket of statements and agents; default <data_dir>/capstand.sock
  std::string vdi_socket;  // Unix socket of virtual devices; default vdi.sock beside `socket`

  int buffer_memory_mb = 1024;  // transfer buffers of one job may take, 16..1048576 MiB
  int device_timeout_s = 60;    // a device may take for one command, 1..86400
  int open_timeout_s = 30;      // devices may take to open, 1..86400
  int database_timeout_s = 30;  // a busy database is waited for, 1..86400
  // An agent may take to settle an interrupted medium, 1..86400: one behind a network has to ask
  // what is there, and to remove it piece by piece.
  int recover_timeout_s = 60;
  // A restore makes a checkpoint when both have gone by, 1..86400 and 1..1048576 MiB.
  int checkpoint_s = 2;
  int checkpoint_mb = 64;
  int agent_lease_s = 10;          // a silent agent counts as gone after this, 2..3600
  int virtual_device_wait_s = 10;  // a statement waits for a virtual device, 0..86400

  // Where Prometheus reads the server's metrics, such as "127.0.0.1:9464"; empty: nowhere. They are
  // for everybody who can reach the port, so other machines have to be allowed.
  std::string metrics_listen;
  bool metrics_allow_remote = false;

  Authentication authentication = Authentication::kNone;  // "none" or "password"

  LogLevel log_level = LogLevel::kInfo;  // "debug", "info", "warning" or "error"
  std::string server_name;               // in backup headers; default: the host's name
  std::string machine_name;              // in backup headers; default: the host's name

  bool start_agents = true;
  std::string agent_program;  // default: capstan-agent beside the running program
  std::vector<AgentConfig> agents{{.name = "disk", .plugin = "disk"}};

  std::string log_folder;   // log that writers keep for log backups; default <data_dir>/log_spool
  int log_limit_mb = 1024;  // of one database; beyond it a writer lets go of it, 1..16777216 MiB
  std::vector<std::string> discovery_folders;  // where sp_discover_databases looks by itself

  DriveMap drive_map;  // where Windows paths in statements lie; default: nowhere
};

// The socket that only the owner of the data directory and root can reach, and that asks for no
// password. It exists while `authentication` is "password", so that somebody can add the first
// login.
std::string OwnerSocketFolder(const ServerConfig& config);  // mode 0700
std::string OwnerSocket(const ServerConfig& config);

// Seconds for which agents send a failing request again: half of what the server waits for a
// device, at most 30, so that the agent's account of the failure arrives before the server's own.
int RetryForDefault(const ServerConfig& config);

// Sets what the file mentions. kInvalidArgument for a file that is not TOML, an unknown key, a
// wrong type or a value out of range; the message names file and line.
Status ApplyFile(const std::string& path, ServerConfig* config);

// Fills in defaults that depend on others, and makes paths absolute. kInvalidArgument if the whole
// makes no sense: no data directory, a socket path too long for the system, agents of one name.
Status Complete(ServerConfig* config);

}  // namespace capstan::coordinator
