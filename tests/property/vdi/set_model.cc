#include "tests/property/vdi/set_model.h"

#include <algorithm>

#include "vdi/segment_layout.h"

namespace capstan::vdi {
namespace {

// A cell of the tables.
enum class Cell {
  kNoObject,  // the native interface has nothing to make the call on
  kOk,        // NOERROR
  kProtocol,  // VD_E_PROTOCOL
  kAborted,   // VD_E_ABORT
  kTimeout,   // blocks, and here does not wait
  kNotFound,  // VD_E_INVALID of the server's Open
  kByDevice,  // the table leaves it to the device or to the objects in it
};
using enum Cell;

Code CodeOf(Cell cell) {
  switch (cell) {
    case kProtocol:
      return Code::kFailedPrecondition;
    case kAborted:
      return Code::kAborted;
    case kTimeout:
      return Code::kDeadlineExceeded;
    case kNotFound:
      return Code::kNotFound;
    default:
      return Code::kOk;
  }
}

}  // namespace

// Where a cell differs from the specification's: a ClientDevice exists from OpenDevice on, a
// ServerDeviceSet from Open to its destruction, hence "no object" where those say PROTOCOL.
struct SetModel::Tables {
  struct ClientRow {
    Call call;
    // Does not exist, Configurable, Initializing, Active, Normally Terminated, Abort
    std::array<Cell, 6> cells;
  };
  struct ServerRow {
    Call call;
    // Does not exist, Connected, Configurable, Initializing, Active, Normally Terminated, Abort,
    // closed
    std::array<Cell, 8> cells;
  };
  // clang-format off
  static constexpr ClientRow kClient[] = {
    //                              DNE        Configurable Initializing Active     Norm. Term. Abort
    {Call::kClientCreate,           {kOk,       kProtocol,  kProtocol,  kProtocol,  kProtocol,  kProtocol}},
    {Call::kClientGetConfiguration, {kNoObject, kTimeout,   kOk,        kOk,        kOk,        kAborted}},
    {Call::kClientOpenDevice,       {kNoObject, kProtocol,  kByDevice,  kByDevice,  kProtocol,  kAborted}},
    {Call::kClientOpenUnknown,      {kNoObject, kProtocol,  kByDevice,  kByDevice,  kProtocol,  kAborted}},
    {Call::kClientGetCommand,       {kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice,  kByDevice}},
    {Call::kClientComplete,         {kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice,  kByDevice}},
    {Call::kClientCompleteNewest,   {kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice,  kByDevice}},
    {Call::kClientFail,             {kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice,  kByDevice}},
    {Call::kClientCompleteUnknown,  {kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice,  kByDevice}},
    {Call::kClientSignalAbort,      {kNoObject, kOk,        kOk,        kOk,        kOk,        kOk}},
    {Call::kClientClose,            {kNoObject, kOk,        kByDevice,  kByDevice,  kByDevice,  kOk}},
  };
  static constexpr ServerRow kServer[] = {
    //                               DNE        Connected  Configurable Initializing Active     Norm. Term. Abort     closed
    {Call::kServerOpen,               {kByDevice, kNotFound, kNotFound, kNotFound,  kNotFound,  kNotFound,  kNotFound, kNotFound}},
    {Call::kServerBeginConfiguration, {kNoObject, kOk,       kProtocol, kProtocol,  kProtocol,  kProtocol,  kAborted,  kProtocol}},
    {Call::kServerRequestBuffers,     {kNoObject, kProtocol, kOk,       kByDevice,  kByDevice,  kProtocol,  kAborted,  kProtocol}},
    {Call::kServerQueryBuffers,       {kNoObject, kProtocol, kByDevice, kByDevice,  kByDevice,  kProtocol,  kAborted,  kProtocol}},
    {Call::kServerEndConfiguration,   {kNoObject, kProtocol, kOk,       kProtocol,  kProtocol,  kProtocol,  kAborted,  kProtocol}},
    {Call::kServerAllocateBuffer,     {kNoObject, kProtocol, kProtocol, kByDevice,  kByDevice,  kProtocol,  kAborted,  kProtocol}},
    {Call::kServerFreeBuffer,         {kNoObject, kProtocol, kProtocol, kByDevice,  kByDevice,  kByDevice,  kByDevice, kProtocol}},
    {Call::kServerOpenDevice,         {kNoObject, kProtocol, kProtocol, kByDevice,  kByDevice,  kProtocol,  kAborted,  kProtocol}},
    {Call::kServerOpenUnknown,        {kNoObject, kProtocol, kProtocol, kByDevice,  kByDevice,  kProtocol,  kAborted,  kProtocol}},
    {Call::kServerSendWrite,          {kNoObject, kNoObject, kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice, kByDevice}},
    {Call::kServerSendFlush,          {kNoObject, kNoObject, kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice, kByDevice}},
    {Call::kServerSendClearError,     {kNoObject, kNoObject, kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice, kByDevice}},
    {Call::kServerSendRewind,         {kNoObject, kNoObject, kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice, kByDevice}},
    {Call::kServerCloseDevice,        {kNoObject, kNoObject, kNoObject, kNoObject,  kByDevice,  kByDevice,  kByDevice, kByDevice}},
    {Call::kServerSignalAbort,        {kNoObject, kOk,       kOk,       kOk,        kOk,        kOk,        kOk,       kOk}},
    {Call::kServerClose,              {kNoObject, kOk,       kOk,       kOk,        kProtocol,  kOk,        kOk,       kProtocol}},
  };
  // clang-format on
};

bool SetModel::Device::clearing() const {
  const auto clears = [](const Command& one) { return one.code == CommandCode::kClearError; };
  return std::any_of(queued.begin(), queued.end(), clears) ||
         std::any_of(taken.begin(), taken.end(), clears);
}

std::optional<Answer> SetModel::Expect(const Step& step) const {
  const bool over = server_ == ServerState::kNone || server_ == ServerState::kClosed;
  if (step.call == Call::kClientCreate && (client_exists() ? !registered_ : !over)) {
    return std::nullopt;  // the name is that of a set that only one side has left
  }
  return ByTable(step);
}

std::optional<Answer> SetModel::ByTable(const Step& step) const {
  Cell cell = kByDevice;  // a secondary's calls: the specification has no table for them
  for (const auto& row : Tables::kClient) {
    if (row.call == step.call) {
      cell = row.cells[static_cast<std::size_t>(client_)];
    }
  }
  for (const auto& row : Tables::kServer) {
    if (row.call == step.call) {
      cell = row.cells[static_cast<std::size_t>(server_)];
    }
  }
  if (cell == kNoObject) {
    return std::nullopt;
  }
  return cell == kByDevice ? ByDevice(step) : Answer{.code = CodeOf(cell)};
}

std::optional<Answer> SetModel::ByDevice(const Step& step) const {
  const Device& device = devices_[step.device];
  switch (step.call) {
    case Call::kClientOpenDevice:
      return ExpectOpen(step.device);
    case Call::kClientOpenUnknown:
      return ExpectOpen(kModelDevices);
    case Call::kClientGetCommand:
    case Call::kClientComplete:
    case Call::kClientCompleteNewest:
    case Call::kClientFail:
    case Call::kClientCompleteUnknown:
      return ExpectOfHolder(step);
    case Call::kClientClose:
      return Answer{LeavesOpen(Holder::kClient) ? Code::kAlreadyExists : Code::kOk};
    case Call::kSecondaryJoin:
      return secondary_ ? std::nullopt : std::optional(ExpectJoin());
    case Call::kSecondaryOpenDevice:
      return secondary_ ? std::optional(secondary_aborted_ ? Answer{Code::kAborted}
                                                           : ExpectOpen(step.device))
                        : std::nullopt;
    case Call::kSecondaryClose:
      return secondary_ ? std::optional(Answer{!secondary_aborted_ && LeavesOpen(Holder::kSecondary)
                                                   ? Code::kAlreadyExists
                                                   : Code::kOk})
                        : std::nullopt;
    case Call::kServerOpen:
      return Answer{registered_ ? Code::kOk : Code::kNotFound};
    case Call::kServerRequestBuffers:
      return Answer{areas_ < kBufferAreasMax ? Code::kOk : Code::kResourceExhausted};
    case Call::kServerQueryBuffers:
      return Answer{.code = Code::kOk, .buffers = buffers_ - allocated_};
    case Call::kServerAllocateBuffer:
      return Answer{allocated_ < buffers_ ? Code::kOk : Code::kResourceExhausted};
    case Call::kServerFreeBuffer:
      return Answer{buffers_ == 0    ? Code::kFailedPrecondition
                    : allocated_ > 0 ? Code::kOk
                                     : Code::kInvalidArgument};
    case Call::kServerOpenDevice:
      return ExpectServerOpen(step.device);
    case Call::kServerOpenUnknown:
      return ExpectServerOpen(kModelDevices);
    case Call::kServerCloseDevice:
      return device.server_open ? std::optional(ExpectServerClose(device)) : std::nullopt;
    default:  // the sends
      return device.server_open ? std::optional(ExpectSend(device, step.call)) : std::nullopt;
  }
}

// --- the client's end, per device ---

Answer SetModel::ExpectOpen(std::size_t device) const {
  const auto is = [](Holder holder) {
    return [holder](const Device& one) { return one.holder == holder; };
  };
  if (std::none_of(devices_.begin(), devices_.end(), is(Holder::kNobody))) {
    const bool all_seen = std::all_of(devices_.begin(), devices_.end(),
                                      [](const Device& one) { return one.close_seen; });
    return {all_seen ? Code::kFailedPrecondition : Code::kAlreadyExists};
  }
  if (device == kModelDevices) {
    return {Code::kInvalidArgument};
  }
  return {devices_[device].holder == Holder::kNobody ? Code::kOk : Code::kFailedPrecondition};
}

bool SetModel::AbortedAt(Holder holder) const {
  return holder == Holder::kClient ? client_aborted() : secondary_aborted_;
}

std::optional<Answer> SetModel::ExpectOfHolder(const Step& step) const {
  const Device& device = devices_[step.device];
  if (device.holder == Holder::kNobody || device.holder == Holder::kGone) {
    return std::nullopt;
  }
  const bool names_a_command = step.call == Call::kClientComplete ||
                               step.call == Call::kClientCompleteNewest ||
                               step.call == Call::kClientFail;
  if (names_a_command && device.taken.empty()) {
    return std::nullopt;
  }
  if (AbortedAt(device.holder)) {
    return Answer{Code::kAborted};
  }
  if (device.close_seen) {
    return Answer{Code::kFailedPrecondition};
  }
  if (step.call == Call::kClientGetCommand) {
    return ExpectGetCommand(device);
  }
  return Answer{names_a_command ? Code::kOk : Code::kInvalidArgument};
}

Answer SetModel::ExpectGetCommand(const Device& device) const {
  for (const Command& command : device.queued) {
    const bool clears = command.code == CommandCode::kClearError;
    if (device.io_error && !clears) {
      continue;  // completed with 1117 and never seen
    }
    return clears && !device.taken.empty() ? Answer{Code::kDeadlineExceeded}
                                           : Answer{Code::kOk, command.code};
  }
  return device.server_closed ? Answer{Code::kOk} : Answer{Code::kDeadlineExceeded};
}

bool SetModel::LeavesOpen(Holder holder) const {
  return std::any_of(devices_.begin(), devices_.end(), [holder](const Device& device) {
    // The primary answers for the devices of all.
    return (device.holder == holder ||
            (holder == Holder::kClient && device.holder != Holder::kNobody)) &&
           !device.close_seen;
  });
}

Answer SetModel::ExpectJoin() const {
  const bool open = server_ == ServerState::kInitializing || server_ == ServerState::kActive;
  if (registered_ && server_ == ServerState::kAbort) {
    return {Code::kAborted};
  }
  return {registered_ && open ? Code::kOk : Code::kFailedPrecondition};
}

// --- the server's end, per device ---

Answer SetModel::ExpectServerOpen(std::size_t device) const {
  if (std::all_of(devices_.begin(), devices_.end(),
                  [](const Device& one) { return one.server_open; })) {
    return {Code::kAlreadyExists};
  }
  if (device == kModelDevices) {
    return {Code::kInvalidArgument};
  }
  if (devices_[device].server_open) {
    return {Code::kFailedPrecondition};
  }
  return {devices_[device].holder == Holder::kNobody ? Code::kDeadlineExceeded : Code::kOk};
}

Answer SetModel::ExpectSend(const Device& device, Call call) const {
  if (aborted_) {
    return {Code::kAborted};
  }
  const bool clears = call == Call::kServerSendClearError;
  if (device.server_closed || server_ == ServerState::kClosed || (device.io_error && !clears)) {
    return {Code::kFailedPrecondition};
  }
  if (call == Call::kServerSendRewind) {
    return {Code::kUnimplemented};
  }
  if (call == Call::kServerSendWrite) {
    return {allocated_ > 0 ? Code::kOk : Code::kInvalidArgument};
  }
  const bool must_wait = clears && device.io_error ? device.clearing() : device.in_flight() > 0;
  return {must_wait ? Code::kFailedPrecondition : Code::kOk};
}

Answer SetModel::ExpectServerClose(const Device& device) const {
  if (server_ == ServerState::kAbort) {
    return {Code::kAborted};
  }
  return {device.server_closed || server_ != ServerState::kActive || device.in_flight() > 0
              ? Code::kFailedPrecondition
              : Code::kOk};
}

}  // namespace capstan::vdi
