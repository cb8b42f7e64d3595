// SetModel: what a device set must answer to every call, as the VDI specification has it. Two
// tables, one per side, to be laid beside those of the specification (client calls by state, server
// calls by state); what they leave to the single device or command is in set_model.cc.
//
// One call after the other, and news between the sides has arrived before the next: then each
// call has exactly one right answer.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "vdi/base/status.h"
#include "vdi/device_types.h"

namespace capstan::vdi {

inline constexpr std::size_t kModelDevices = 2;
inline constexpr std::size_t kModelBuffers = 2;  // that one RequestBuffers asks for

enum class Call {
  // The client's; what has a device says which by Step::device.
  kClientCreate,
  kClientGetConfiguration,
  kClientOpenDevice,
  kClientOpenUnknown,
  kClientGetCommand,
  kClientComplete,        // the oldest command it has, with success
  kClientCompleteNewest,  // the newest
  kClientFail,            // the oldest, with an error
  kClientCompleteUnknown,
  kClientSignalAbort,
  kClientClose,
  // A secondary's.
  kSecondaryJoin,
  kSecondaryOpenDevice,
  kSecondaryClose,
  // The engine's.
  kServerOpen,
  kServerBeginConfiguration,
  kServerRequestBuffers,
  kServerQueryBuffers,
  kServerEndConfiguration,
  kServerAllocateBuffer,
  kServerFreeBuffer,
  kServerOpenDevice,
  kServerOpenUnknown,
  kServerSendWrite,
  kServerSendFlush,
  kServerSendClearError,
  kServerSendRewind,  // which this client does not offer
  kServerCloseDevice,
  kServerSignalAbort,
  kServerClose,
};
inline constexpr int kCallCount = static_cast<int>(Call::kServerClose) + 1;

struct Step {
  Call call;
  std::size_t device = 0;
};
std::string ToString(const Step& step);

// What a call must say.
struct Answer {
  Code code = Code::kOk;
  // Of GetCommand that returns OK: a command, or nothing because the device is closed.
  std::optional<CommandCode> command = {};
  // Of QueryAvailableBuffers that returns OK.
  std::optional<std::size_t> buffers = {};
  bool operator==(const Answer&) const = default;
};
std::string ToString(const Answer& answer);

class SetModel {
 public:
  // nullopt: there is no object to make the call on.
  std::optional<Answer> Expect(const Step& step) const;
  // The call was made, and was answered as expected.
  void Apply(const Step& step);

  // What must have been called back by now, of commands in the order of sending.
  const std::vector<std::optional<CompletionCode>>& ended() const { return ended_; }
  // What the sides must have heard of by now.
  bool client_exists() const { return client_ != ClientState::kNone; }
  bool client_aborted() const { return client_ == ClientState::kAbort; }
  bool secondary_exists() const { return secondary_; }
  bool secondary_aborted() const { return secondary_aborted_; }
  bool server_aborted() const { return aborted_; }
  bool configured() const { return client_ > ClientState::kConfigurable && !client_aborted(); }
  bool registered() const { return registered_; }

 private:
  enum class ClientState { kNone, kConfigurable, kInitializing, kActive, kTerminated, kAbort };
  enum class ServerState {
    kNone,
    kConnected,
    kConfigurable,
    kInitializing,
    kActive,
    kTerminated,
    kAbort,
    kClosed,
  };
  enum class Holder { kNobody, kClient, kSecondary, kGone };
  struct Command {
    std::size_t number;  // index in ended_
    CommandCode code;
  };
  struct Device {
    Holder holder = Holder::kNobody;
    bool close_seen = false;  // by its holder
    bool server_open = false;
    bool server_closed = false;
    bool io_error = false;
    std::deque<Command> queued;  // sent, not delivered
    std::deque<Command> taken;   // delivered, not completed
    std::size_t in_flight() const { return queued.size() + taken.size(); }
    bool clearing() const;  // a ClearError is in flight
  };
  struct Tables;

  std::optional<Answer> ByTable(const Step& step) const;
  std::optional<Answer> ByDevice(const Step& step) const;
  Answer ExpectOpen(std::size_t device) const;
  std::optional<Answer> ExpectOfHolder(const Step& step) const;
  Answer ExpectGetCommand(const Device& device) const;
  Answer ExpectJoin() const;
  Answer ExpectServerOpen(std::size_t device) const;
  Answer ExpectSend(const Device& device, Call call) const;
  Answer ExpectServerClose(const Device& device) const;
  bool AbortedAt(Holder holder) const;
  bool LeavesOpen(Holder holder) const;

  void ApplyOfClients(const Step& step);
  void ApplyOfServer(const Step& step);
  void ApplyGetCommand(Device& device);
  void ApplyComplete(Device& device, std::size_t index, CompletionCode code);
  void CloseClient();
  void CloseSecondary();
  void AbortByClient();
  void AbortServer();
  void CloseServer();
  void Refresh();

  ClientState client_ = ClientState::kNone;
  ServerState server_ = ServerState::kNone;
  bool secondary_ = false;  // has joined, has not closed
  bool secondary_aborted_ = false;
  bool registered_ = false;    // the rendezvous knows the set
  bool aborted_ = false;       // the server side was, at any time
  std::size_t requested_ = 0;  // buffers
  std::size_t buffers_ = 0;    // that there are
  std::size_t areas_ = 0;      // in which they lie
  std::size_t allocated_ = 0;
  std::array<Device, kModelDevices> devices_;
  std::vector<std::optional<CompletionCode>> ended_;
};

}  // namespace capstan::vdi
