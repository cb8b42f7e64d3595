// DeviceProvider: where the engine gets virtual devices from. The coordinator implements it with
// agents and vendors' programs; tests implement it in memory. The engine knows nothing of gRPC.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "vdi/base/clock.h"
#include "vdi/base/status.h"
#include "vdi/server_device_set.h"

namespace capstan::engine {

enum class OpenMode {
  kRead,
  kCreate,   // a new medium; an existing one is kAlreadyExists
  kReplace,  // a new medium that takes the place of an existing one when it is committed
  // An existing medium that is read and gets more behind what it holds. What is written counts from
  // the commit on; until then, and after a discard, the medium is as it was. os_error ENOENT
  // if there is none.
  kAppend,
};

struct DeviceTarget {
  std::string name;   // path, URL, drive, or name of a virtual device
  std::string token;  // names the construction of a new medium for Recover
};

struct DeviceSetRequest {
  std::string device_class;  // "DISK", "URL", "TAPE", "VIRTUAL_DEVICE"
  OpenMode mode = OpenMode::kRead;
  std::vector<DeviceTarget> targets;
  std::uint64_t size_estimate = 0;  // bytes per device, 0 = unknown
  std::int64_t job_id = 0;
  // Media that can be locked shall be neither removed nor changed before; 0 = no wish.
  std::int64_t retain_until_unix_s = 0;
  std::uint64_t bytes_per_second_max = 0;  // of all devices together, 0 = no limit
  // Of kCreate and kReplace where Resumes() says so. What was written stays, unless it is
  // committed, until Recover.
  bool keep = false;
  // Likewise: goes on with what the tokens began, which can be read, and written over. os_error
  // ENOENT if nothing is left of it.
  bool resume = false;
  // Whether the job has been cancelled meanwhile; empty = it cannot be. Asked a few times a second
  // while Open waits, on its thread, and must not block.
  std::function<bool()> cancelled;
};

// A set in the state Connected, ready to be configured, and the names its devices will have.
struct ProvidedSet {
  std::unique_ptr<vdi::ServerDeviceSet> set;
  std::vector<std::string> device_names;
  std::string agent;  // empty for a vendor's own virtual device
};

enum class RecoverAction { kCommit, kDiscard };

// What can be known of a medium without opening it.
struct MediumStat {
  bool exists = false;
  std::uint64_t size_bytes = 0;           // committed; what an append has begun does not count
  std::uint64_t free_bytes = UINT64_MAX;  // left where it is or would be; UINT64_MAX: unknown
};

class DeviceProvider {
 public:
  virtual ~DeviceProvider() = default;

  // The message of a failure is complete (3201, 65001, ...): it names the target and the cause.
  // 3204 within a second of request.cancelled() turning true.
  // 65001, and 3201 with an os_error other than ECANCELED, mean that nothing was begun on any
  // target. 3201 with os_error ENOENT: a medium to be read or appended to is not there, or the
  // folder of one to be written. 3201 with EBUSY: somebody else writes it, or an interrupted append
  // is not settled yet.
  virtual Result<ProvidedSet> Open(const DeviceSetRequest& request, Deadline deadline) = 0;

  // Whether devices of this class can go on with a new medium that an interrupted job left
  // (DeviceSetRequest::resume). False while that is not known.
  virtual bool Resumes(const std::string& /*device_class*/, const DeviceTarget& /*target*/) {
    return false;
  }

  // Finishes or undoes a medium that an interrupted job left. Idempotent.
  // kUnavailable: no agent for this class of device right now.
  virtual Status Recover(const std::string& device_class, const DeviceTarget& target,
                         RecoverAction action, Deadline deadline) = 0;

  // The errors are those of Open. A device that cannot tell, such as a vendor's own, answers with a
  // medium that does not exist and unknown free space.
  virtual Result<MediumStat> Stat(const std::string& device_class, const DeviceTarget& target,
                                  Deadline deadline) = 0;

  // What the agent last said went wrong on a device, with the OS number ("28(No space left on
  // device)"); empty if it said nothing. May wait briefly for a report that is under way.
  virtual std::string ErrorDetail(const std::string& set_name, const std::string& device_name) = 0;

  // What else the agent said about that: its plugin's own words and what the operator can do. Empty
  // if that is no more than ErrorDetail. Does not wait.
  virtual std::string ErrorHint(const std::string& /*device_name*/) { return ""; }

  // Removes a medium. One that is not there is no error.
  virtual Status Remove(const std::string& /*device_class*/, const DeviceTarget& target,
                        Deadline /*deadline*/) {
    return Error(Code::kUnimplemented, "medium '{}' cannot be removed", target.name);
  }
};

}  // namespace capstan::engine
