// MediaDevices: the engine's device sets, ordered from agents or met at the rendezvous.
//
// DISK, URL and TAPE are served by the agent that attached for that class, and for the scheme of
// the name if several did: it is told to open the media and to create a set under a fresh name,
// which is then opened here. VIRTUAL_DEVICE is a set that a vendor's own program creates under the
// name that the statement gives.
//
// Threads: any.
#pragma once

#include <chrono>
#include <string>

#include "server/coordinator/agent_directory.h"
#include "server/coordinator/drive_map.h"
#include "server/engine/device_provider.h"
#include "vdi/rendezvous.h"

namespace capstan::coordinator {

class MediaDevices final : public engine::DeviceProvider {
 public:
  struct Options {
    std::chrono::milliseconds virtual_device_wait{10'000};
    // An agent may be starting, or being started again.
    std::chrono::milliseconds agent_wait{5'000};
    std::string server_address;  // "unix:PATH", for hints
    DriveMap drive_map;
  };
  // Directory and rendezvous must outlive this and every set that it opened.
  MediaDevices(AgentDirectory& agents, vdi::Rendezvous& rendezvous, Options options);

  // 65001 no agent, 3201 it cannot be opened (state 7, after 18210: no
  // such virtual device; os_error EOPNOTSUPP: the plugin cannot do it), 3204 cancelled.
  Result<engine::ProvidedSet> Open(const engine::DeviceSetRequest& request,
                                   Deadline deadline) override;
  bool Resumes(const std::string& device_class, const engine::DeviceTarget& target) override;
  Status Recover(const std::string& device_class, const engine::DeviceTarget& target,
                 engine::RecoverAction action, Deadline deadline) override;
  Result<engine::MediumStat> Stat(const std::string& device_class,
                                  const engine::DeviceTarget& target, Deadline deadline) override;
  std::string ErrorDetail(const std::string& set_name, const std::string& device_name) override;
  std::string ErrorHint(const std::string& device_name) override;
  Status Remove(const std::string& device_class, const engine::DeviceTarget& target,
                Deadline deadline) override;

 private:
  Result<engine::ProvidedSet> OpenVirtualDevice(const engine::DeviceSetRequest& request,
                                                Deadline deadline);
  Result<engine::ProvidedSet> OpenMedia(const engine::DeviceSetRequest& request, Deadline deadline);
  // Where a DISK of a statement lies on this machine; other names stay as they are. 3201 if its
  // drive is not mapped.
  Result<std::string> PlaceOf(const std::string& device_class, const std::string& name) const;
  // `name` is that of the statement.
  Result<AgentInfo> AgentFor(const std::string& device_class, const std::string& name,
                             const Patience& patience);
  // The one agent that serves all of them: 3201 for a name that another one serves.
  Result<AgentInfo> AgentForAll(const engine::DeviceSetRequest& request, const Patience& patience);
  // Takes the set that the agent has created.
  Result<engine::ProvidedSet> TakeSet(const AgentInfo& agent, const OpenSetOrder& order,
                                      const Patience& patience);
  // As Rendezvous::Open, but ends with kCancelled soon after the job was cancelled.
  Result<std::unique_ptr<vdi::ServerDeviceSet>> Meet(const std::string& set_name,
                                                     const Patience& patience);

  AgentDirectory& agents_;
  vdi::Rendezvous& rendezvous_;
  const Options options_;
};

}  // namespace capstan::coordinator
