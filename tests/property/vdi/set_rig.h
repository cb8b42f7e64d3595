// SetRig: a real device set on which the steps of a model are carried out, and compared.
//
// Threads: every call is made while no other is; some are made on another thread than the last, as
// the sets may be used from any.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/property/vdi/set_model.h"
#include "vdi/client_device_set.h"
#include "vdi/rendezvous.h"
#include "vdi/server_device_set.h"

namespace capstan::vdi {

class SetRig {
 public:
  SetRig(Rendezvous& rendezvous, std::string name);
  ~SetRig();

  // Makes the call. REQUIRES: the model expects an answer.
  Answer Make(const Step& step);
  // "" if all that the model says about commands and aborts is so, now or as soon as the news of it
  // has come, and nothing else is.
  std::string Compare(const SetModel& model);

 private:
  struct Sent {
    ServerCommand command;
    std::atomic<int> called_back{0};
  };
  Answer MakeOfClients(const Step& step);
  Answer MakeOfServer(const Step& step);
  Answer Open(Result<ClientDevice*> opened, std::size_t device);
  Answer GetCommand(std::size_t device);
  Answer Complete(const Step& step);
  Answer OpenOnServer(std::size_t device, std::string_view name);
  Answer Send(std::size_t device, CommandCode code);
  std::string CompareCommands(const SetModel& model) const;
  std::string CompareAborts(const SetModel& model) const;

  Rendezvous& rendezvous_;
  const std::string name_;
  std::vector<std::string> device_names_;

  std::unique_ptr<ClientDeviceSet> client_;
  std::unique_ptr<ClientDeviceSet> secondary_;
  std::unique_ptr<ServerDeviceSet> server_;
  std::array<ClientDevice*, kModelDevices> client_devices_{};
  std::array<ServerDevice*, kModelDevices> server_devices_{};
  std::array<std::deque<std::uint64_t>, kModelDevices> taken_;  // ids
  std::vector<std::byte*> buffers_;
  std::vector<std::unique_ptr<Sent>> sent_;
};

}  // namespace capstan::vdi
