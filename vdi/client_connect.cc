// How a process becomes part of a device set: the first words over the socket.
#include <cerrno>
#include <chrono>
#include <utility>

#include <poll.h>

#include "vdi/base/crash_point.h"
#include "vdi/client_set.h"
#include "vdi/listening_socket.h"

namespace capstan::vdi {
namespace {

constexpr std::size_t kPageSize = 4096;
// How long an engine that accepted the connection may take to answer.
constexpr std::chrono::milliseconds kAnswerPatience{5000};

Status CheckControlArea(const SharedMemory& control, std::uint32_t device_count) {
  if (control.size() < sizeof(ControlHeader)) {
    return Error(Code::kDataLoss, "the control area has only {} bytes", control.size());
  }
  const auto& header = *std::launder(reinterpret_cast<const ControlHeader*>(control.data()));
  if (header.magic != kSegmentMagic) {
    return Error(Code::kDataLoss, "the control area is not one of ours");
  }
  if (header.version != kSegmentVersion || header.header_size != sizeof(ControlHeader) ||
      header.device_area_size != kDeviceAreaSize || header.ring_capacity != kRingCapacity) {
    return Error(Code::kUnimplemented,
                 "the engine's control area has version {}, this end knows {}", header.version,
                 kSegmentVersion)
        .WithHint("install the same version of Capstan on both ends");
  }
  if (header.device_count != device_count || control.size() != ControlAreaSize(device_count)) {
    return Error(Code::kDataLoss, "the control area is not for {} devices", device_count);
  }
  return OkStatus();
}

// What the engine answers first, which must not be the end of the connection.
Result<ReceivedMessage> AwaitAnswer(int socket) {
  pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, static_cast<int>(kAnswerPatience.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    return Error(Code::kUnavailable, "the engine did not answer in {} ms", kAnswerPatience.count());
  }
  CAPSTAN_ASSIGN_OR_RETURN(ReceivedMessage received, ReceiveMessage(socket, Passing::kAcceptFd));
  if (received.end_of_file()) {
    return Error(Code::kUnavailable, "the engine closed the connection");
  }
  return received;
}

Result<SharedMemory> AdoptControlArea(ReceivedMessage received, std::uint64_t size,
                                      std::uint32_t device_count) {
  CAPSTAN_ASSIGN_OR_RETURN(SharedMemory control,
                           SharedMemory::Adopt(std::move(received.passed_fd), size, kPageSize));
  CAPSTAN_RETURN_IF_ERROR(CheckControlArea(control, device_count));
  return control;
}

Status CheckSize(std::string_view name) {
  if (name.size() > kSetNameSizeMax) {
    return Error(Code::kInvalidArgument, "the name has {} bytes; {} are allowed", name.size(),
                 kSetNameSizeMax);
  }
  return OkStatus();
}

Result<std::unique_ptr<ClientSetEnd>> CreateSet(UniqueFd socket, std::string_view name,
                                                const DeviceSetConfig& wishes) {
  auto request = NewMessage<CreateMessage>();
  request.wishes = wishes;
  request.name.Set(name);
  CAPSTAN_CRASH_POINT("vdi.client.before_create");
  CAPSTAN_RETURN_IF_ERROR(SendMessage(socket.get(), request));
  CAPSTAN_CRASH_POINT("vdi.client.after_request");
  CAPSTAN_ASSIGN_OR_RETURN(ReceivedMessage received, AwaitAnswer(socket.get()));
  CAPSTAN_ASSIGN_OR_RETURN(const CreatedMessage answer, received.As<CreatedMessage>());
  if (answer.code != static_cast<std::int32_t>(Code::kOk)) {
    return Status(static_cast<Code>(answer.code), std::string(answer.text.view()));
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      SharedMemory control,
      AdoptControlArea(std::move(received), answer.control_size, wishes.device_count));
  CAPSTAN_CRASH_POINT("vdi.client.after_create");
  return ClientSetEnd::Start(
      {.name = std::string(name), .socket = std::move(socket), .control = std::move(control)});
}

Result<std::unique_ptr<ClientSetEnd>> JoinSet(UniqueFd socket, std::string_view name) {
  auto request = NewMessage<JoinMessage>();
  request.name.Set(name);
  CAPSTAN_CRASH_POINT("vdi.client.before_join");
  CAPSTAN_RETURN_IF_ERROR(SendMessage(socket.get(), request));
  CAPSTAN_CRASH_POINT("vdi.client.after_join_request");
  CAPSTAN_ASSIGN_OR_RETURN(ReceivedMessage received, AwaitAnswer(socket.get()));
  CAPSTAN_ASSIGN_OR_RETURN(const JoinedMessage answer, received.As<JoinedMessage>());
  if (answer.code != static_cast<std::int32_t>(Code::kOk)) {
    return Status(static_cast<Code>(answer.code), std::string(answer.text.view()))
        .WithHint(std::string(answer.hint.view()));
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      SharedMemory control,
      AdoptControlArea(std::move(received), answer.control_size, answer.device_count));
  CAPSTAN_ASSIGN_OR_RETURN(auto set, ClientSetEnd::Start({.name = std::string(name),
                                                          .socket = std::move(socket),
                                                          .control = std::move(control),
                                                          .member = answer.member}));
  // It stands right behind the answer.
  CAPSTAN_RETURN_IF_ERROR(set->GetConfiguration(Deadline::After(kAnswerPatience)).status());
  CAPSTAN_CRASH_POINT("vdi.client.after_join");
  return set;
}

}  // namespace

Result<std::unique_ptr<ClientDeviceSet>> ClientDeviceSet::Create(const std::string& rendezvous_path,
                                                                 std::string_view name,
                                                                 const DeviceSetConfig& wishes) {
  const std::string context = fmt::format("unable to create device set '{}'", name);
  CAPSTAN_RETURN_IF_ERROR(Annotate(CheckSize(name), context));
  CAPSTAN_ASSIGN_OR_RETURN(UniqueFd socket, ConnectSocket(rendezvous_path));
  auto created = CreateSet(std::move(socket), name, wishes);
  if (!created.ok()) {
    return Annotate(std::move(created).status(), context);
  }
  return std::unique_ptr<ClientDeviceSet>(std::move(created).value());
}

Result<std::unique_ptr<ClientDeviceSet>> ClientDeviceSet::OpenInSecondary(
    const std::string& rendezvous_path, std::string_view name) {
  const std::string context = fmt::format("unable to join device set '{}'", name);
  CAPSTAN_RETURN_IF_ERROR(Annotate(CheckSize(name), context));
  CAPSTAN_ASSIGN_OR_RETURN(UniqueFd socket, ConnectSocket(rendezvous_path));
  auto joined = JoinSet(std::move(socket), name);
  if (!joined.ok()) {
    return Annotate(std::move(joined).status(), context);
  }
  return std::unique_ptr<ClientDeviceSet>(std::move(joined).value());
}

}  // namespace capstan::vdi
