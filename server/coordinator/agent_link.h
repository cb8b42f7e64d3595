// AgentLink: the wire between the directory and one agent, and what travels on it, in plain
// structs. The gRPC adapter implements it; tests script it.
//
// Threads: all methods from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "server/engine/device_provider.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

inline constexpr std::uint32_t kAgentProtocolVersion = 1;

// CAPSTAN_CAN_* of the plugin header, as far as the server asks.
namespace capability {
inline constexpr std::uint32_t kRead = 0x1;
inline constexpr std::uint32_t kWrite = 0x2;
inline constexpr std::uint32_t kRecover = 0x4;  // a medium under construction outlives a crash
inline constexpr std::uint32_t kRemove = 0x8;
inline constexpr std::uint32_t kAppend = 0x10;
inline constexpr std::uint32_t kRetain = 0x20;  // what is written can be locked until a time
inline constexpr std::uint32_t kUndo = 0x40;    // old media stay until the new ones are committed
inline constexpr std::uint32_t kResume = 0x80;  // an interrupted new medium can be gone on with
}  // namespace capability

// Who an agent says it is.
struct AgentHello {
  std::uint32_t protocol_version = 0;
  std::string name;  // unique per server
  std::string agent_version;
  int pid = 0;
  std::string plugin_name;
  std::string plugin_version;
  std::string plugin_vendor = {};
  std::string device_class;               // "DISK", "URL", "TAPE"
  std::vector<std::string> schemes = {};  // "s3"; empty for plain names
  std::uint32_t capabilities = 0;         // capability:: bits
  std::uint32_t device_features = 0;      // VDF_* of VDI
};

// Create a set, open its media, serve it. Answered when all are open, not when the job ends.
struct OpenSetOrder {
  struct Device {
    std::string device_name;  // the first equals set_name
    std::string target;
    std::string token;
    std::uint64_t size_estimate = 0;  // bytes
  };
  std::string set_name;
  std::int64_t job_id = 0;
  engine::OpenMode mode = engine::OpenMode::kRead;
  std::vector<Device> devices;             // 1..64
  std::int64_t retain_until_unix_s = 0;    // 0 = no wish
  std::uint64_t bytes_per_second_max = 0;  // of all devices together, 0 = no limit
  bool keep = false;                       // as engine::DeviceSetRequest says
  bool resume = false;                     // likewise
};

// Abandon a set. Idempotent. Answered when its media are closed.
struct CloseSetOrder {
  std::string set_name;
};

// Finish or undo what a crash left. Idempotent.
struct RecoverOrder {
  std::string target;
  std::string token;
  engine::RecoverAction action = engine::RecoverAction::kDiscard;
};

// Look a medium up.
struct StatOrder {
  std::string target;
};

// Remove a medium.
struct RemoveOrder {
  std::string target;
};

using Order = std::variant<OpenSetOrder, CloseSetOrder, RecoverOrder, StatOrder, RemoveOrder>;

// How an order ended.
struct OrderResult {
  Status status;                 // message and errno are the agent's own
  std::string target = {};       // the medium that failed, if one did
  engine::MediumStat stat = {};  // of a StatOrder
};

// How one device of an agent is doing.
struct DeviceReport {
  std::string set_name;
  std::string device_name;
  std::string target;
  std::string mode;                    // how the plugin moves bytes, such as "io_uring direct"
  std::uint64_t bytes = 0;             // since the device was opened
  std::uint64_t bytes_per_second = 0;  // over the last interval
  std::uint32_t queue_depth = 0;       // requests in flight
  std::uint32_t errors = 0;
  std::string last_error;            // "28(No space left on device)", empty if there was none
  std::string last_error_text = {};  // the plugin's own words
  std::string last_error_hint = {};
  std::uint32_t stops = 0;                // of a moving medium, for want of data
  std::uint64_t medium_time_us = 0;       // that the medium itself was busy
  std::string medium = {};                // which one is in the drive
  std::string waits_for = {};             // what keeps the device waiting
  std::uint64_t requests = 0;             // reads and writes that the plugin has completed
  std::uint64_t request_time_us = 0;      // their times added up; several run at once
  std::uint64_t request_time_max_us = 0;  // of the slowest one
  std::uint64_t throttled_us = 0;         // during which a limit held something back
  std::uint64_t retries = 0;              // times that a request was sent again
};

class AgentLink {
 public:
  virtual ~AgentLink() = default;

  // Tells the agent that it is taken. Called once, before any order. False: the agent is gone.
  virtual bool Welcome(std::chrono::milliseconds lease) = 0;

  // False: the agent is gone. May block on an agent that does not read; Close ends that.
  virtual bool Send(std::uint64_t order_id, const Order& order) = 0;

  // Breaks the wire: the agent sees the end of its stream. Never blocks. Idempotent.
  virtual void Close() = 0;
};

}  // namespace capstan::coordinator
