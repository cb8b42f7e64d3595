// ServedSet: a device set whose client is one of our agents. It is the set itself, plus two duties:
// when the agent is lost the set is aborted, and when an aborted set is closed the agent is told,
// so that its media are closed too before anybody tries to undo them.
//
// Threads: as ServerDeviceSet.
#pragma once

#include <memory>
#include <string>

#include "server/coordinator/agent_directory.h"
#include "vdi/server_device_set.h"

namespace capstan::coordinator {

class ServedSet final : public vdi::ServerDeviceSet {
 public:
  // kUnavailable: the agent is gone. The directory must outlive the set.
  static Result<std::unique_ptr<vdi::ServerDeviceSet>> Create(
      AgentDirectory& agents, AgentId agent, std::unique_ptr<vdi::ServerDeviceSet> set);
  ~ServedSet() override;

  const std::string& name() const override { return set_->name(); }
  int client_pid() const override { return set_->client_pid(); }
  vdi::DeviceSetConfig GetConfiguration() const override { return set_->GetConfiguration(); }
  Status BeginConfiguration(const vdi::EngineConfiguration& configuration) override {
    return set_->BeginConfiguration(configuration);
  }
  Status RequestBuffers(std::uint32_t size, std::uint32_t alignment, std::uint32_t count) override {
    return set_->RequestBuffers(size, alignment, count);
  }
  Result<std::uint32_t> QueryAvailableBuffers(std::uint32_t size,
                                              std::uint32_t alignment) const override {
    return set_->QueryAvailableBuffers(size, alignment);
  }
  Status EndConfiguration(std::span<const std::string> device_names) override {
    return set_->EndConfiguration(device_names);
  }
  Result<std::byte*> AllocateBuffer(std::uint32_t size, std::uint32_t alignment) override {
    return set_->AllocateBuffer(size, alignment);
  }
  Status FreeBuffer(std::byte* buffer) override { return set_->FreeBuffer(buffer); }
  bool IsSharedBuffer(const void* address) const override { return set_->IsSharedBuffer(address); }
  Result<vdi::ServerDevice*> OpenDevice(std::string_view name, Deadline deadline) override {
    return set_->OpenDevice(name, deadline);
  }
  void SignalAbort(Status why) override { set_->SignalAbort(std::move(why)); }
  Status abort_reason() const override { return set_->abort_reason(); }
  Status Close() override;

 private:
  ServedSet(AgentDirectory& agents, AgentId agent, std::unique_ptr<vdi::ServerDeviceSet> set)
      : agents_(agents), agent_(agent), set_(std::move(set)) {}

  AgentDirectory& agents_;
  const AgentId agent_;
  const std::unique_ptr<vdi::ServerDeviceSet> set_;
  std::unique_ptr<AgentDirectory::SetWatch> watch_;  // null once the set is closed
};

}  // namespace capstan::coordinator
