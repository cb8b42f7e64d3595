// ServerConfig: what an administrator can set, with its defaults, units and limits.
//
// Built in three steps: the file (ApplyFile), then flags on top of it, then Complete, which fills
// in what follows from the rest and checks the whole. The file is TOML; its keys are the members'
// names, and each [[agent]] is one entry of `agents`:
//
//   buffer_memory_mb = 2048
//   [[agent]]
//   name = "disk"
//   plugin = "disk"
//   [drive_map]
//   "e:" = "/srv/e"
//   "\\\\server\\share" = "/mnt/share"
//
// Threads: plain data.
#pragma once

#include <string>
#include <vector>

#include "server/coordinator/drive_map.h"
#include "vdi/base/log.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

// An agent that the server starts itself.
struct AgentConfig {
  std::string name;    // unique; default: the plugin's name
  std::string plugin;  // name of an installed plugin, or a path
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

  int buffer_memory_mb = 1024;     // transfer buffers of one job may take, 16..1048576 MiB
  int device_timeout_s = 60;       // a device may take for one command, 1..86400
  int open_timeout_s = 30;         // devices may take to open, 1..86400
  int database_timeout_s = 30;     // a busy database is waited for, 1..86400
  int recover_timeout_s = 5;       // an agent may take to settle an interrupted medium, 1..86400
  int agent_lease_s = 10;          // a silent agent counts as gone after this, 2..3600
  int virtual_device_wait_s = 10;  // a statement waits for a virtual device, 0..86400

  Authentication authentication = Authentication::kNone;  // "none" or "password"

  LogLevel log_level = LogLevel::kInfo;  // "debug", "info", "warning" or "error"
  std::string server_name;               // in backup headers; default: the host's name
  std::string machine_name;              // in backup headers; default: the host's name

  bool start_agents = true;
  std::string agent_program;  // default: capstan-agent beside the running program
  std::vector<AgentConfig> agents{{.name = "disk", .plugin = "disk"}};

  DriveMap drive_map;  // where Windows paths in statements lie; default: nowhere
};

// The socket that only the owner of the data directory and root can reach, and that asks for no
// password. It exists while `authentication` is "password", so that somebody can add the first
// login.
std::string OwnerSocketFolder(const ServerConfig& config);  // mode 0700
std::string OwnerSocket(const ServerConfig& config);

// Sets what the file mentions. kInvalidArgument for a file that is not TOML, an unknown key, a
// wrong type or a value out of range; the message names file and line.
Status ApplyFile(const std::string& path, ServerConfig* config);

// Fills in defaults that depend on others, and makes paths absolute. kInvalidArgument if the whole
// makes no sense: no data directory, a socket path too long for the system, agents of one name.
Status Complete(ServerConfig* config);

}  // namespace capstan::coordinator
