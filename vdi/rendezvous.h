// The place where virtual device sets meet the engine: one Unix seqpacket socket per server.
//
// A client connects, names its set and states its wishes; the set then waits here until a statement
// opens it by name. The socket's mode and SO_PEERCRED decide who gets in; the connection stays open
// for the life of the set, so that either side sees the other's death at once as end-of-file.
// Threads: any. One thread of the rendezvous accepts and watches connections.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "vdi/base/clock.h"
#include "vdi/base/status.h"
#include "vdi/device_types.h"
#include "vdi/server_device_set.h"

namespace capstan::vdi {

struct RendezvousOptions {
  std::string path;    // of the socket; a stale socket file of a dead server is replaced
  mode_t mode = 0660;  // of the socket file
  std::uint64_t segment_bytes_max = 4ULL << 30;  // per set; larger requests are kResourceExhausted
};

// One known set, for `capstan list devices`.
struct DeviceSetInfo {
  std::string name;
  std::string state;  // "Created", "Configurable", "Initializing", "Active", ...
  int client_pid = 0;
  std::uint32_t device_count = 0;
  std::uint32_t features = 0;
};

class Rendezvous {
 public:
  // kAlreadyExists: another live server listens there. kInvalidArgument: the path is too long.
  static Result<std::unique_ptr<Rendezvous>> Listen(RendezvousOptions options);
  virtual ~Rendezvous() = default;  // aborts all sets, removes the socket file

  // Waits until a client has created the set, then takes it: a set is opened once.
  // kNotFound: no such set by the deadline.
  virtual Result<std::unique_ptr<ServerDeviceSet>> Open(std::string_view set_name,
                                                        Deadline deadline) = 0;

  virtual std::vector<DeviceSetInfo> List() const = 0;
  virtual const std::string& path() const = 0;
};

}  // namespace capstan::vdi
