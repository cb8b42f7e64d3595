// ClientSetEnd: the client's end of a device set.
//
// Threads: one of its own reads what the engine says on the socket, and notices when it dies.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include <poll.h>
#include <sys/socket.h>

#include "vdi/base/crash_point.h"
#include "vdi/base/mutex.h"
#include "vdi/client_device.h"
#include "vdi/client_device_set.h"
#include "vdi/control_message.h"
#include "vdi/listening_socket.h"
#include "vdi/segment_layout.h"
#include "vdi/shared_memory.h"

namespace capstan::vdi {
namespace {

constexpr std::size_t kPageSize = 4096;
// How long an engine that accepted the connection may take to answer.
constexpr int kAnswerPatienceMs = 5000;

class ClientSetEnd final : public ClientDeviceSet, public ClientDeviceOwner {
 public:
  ClientSetEnd(std::string name, UniqueFd socket, SharedMemory control)
      : name_(std::move(name)),
        socket_(std::move(socket)),
        control_(std::move(control)),
        thread_([this] { Listen(); }) {}
  ~ClientSetEnd() override { [[maybe_unused]] const Status closed = Close(); }

  Result<DeviceSetConfig> GetConfiguration(Deadline deadline) override;
  Result<ClientDevice*> OpenDevice(std::string_view name) override;
  void SignalAbort() override { AbortSet(Error(Code::kAborted, "the client called SignalAbort")); }
  Status abort_reason() const override {
    MutexLock lock(mutex_);
    return abort_reason_;
  }
  Status Close() override;

 private:
  // ClientDeviceOwner
  bool aborted() const override { return aborted_.load(std::memory_order_seq_cst); }
  Status AbortedError() const override;
  void AbortSet(Status why) override;

  void Listen();
  // False: nothing more will come.
  bool HandleMessage(const ReceivedMessage& message, UniqueFd passed_fd);
  Status Configure(const ConfiguredMessage& message, UniqueFd passed_fd);
  // True if this call was the first to end the set.
  bool EndSet(Status why);
  Status ClosedError() const;
  ControlHeader& header() const;
  DeviceArea& device_area(std::size_t index) const;

  const std::string name_;
  const UniqueFd socket_;
  std::optional<SharedMemory> control_;  // until Close

  mutable Mutex mutex_;
  CondVar changed_;
  std::atomic<bool> aborted_{false};
  Status abort_reason_ CAPSTAN_GUARDED_BY(mutex_);
  std::optional<DeviceSetConfig> config_ CAPSTAN_GUARDED_BY(mutex_);  // once configured
  std::vector<std::string> names_ CAPSTAN_GUARDED_BY(mutex_);         // of the devices
  std::optional<SharedMemory> buffers_ CAPSTAN_GUARDED_BY(mutex_);
  // By index of the device; null until it is opened.
  std::vector<std::unique_ptr<ClientDeviceEnd>> devices_ CAPSTAN_GUARDED_BY(mutex_);
  bool closed_ CAPSTAN_GUARDED_BY(mutex_) = false;

  std::jthread thread_;
};

Result<DeviceSetConfig> ClientSetEnd::GetConfiguration(Deadline deadline) {
  MutexLock lock(mutex_);
  for (bool in_time = true;;) {
    if (closed_) {
      return ClosedError();
    }
    if (aborted()) {
      return Error(Code::kAborted, "device set '{}' was aborted: {}", name_,
                   abort_reason_.message());
    }
    if (config_) {
      return *config_;
    }
    if (!in_time || deadline.passed()) {
      return Error(Code::kDeadlineExceeded, "no statement has configured device set '{}' in time",
                   name_)
          .WithHint("look whether the BACKUP or RESTORE statement that names it has failed");
    }
    in_time = changed_.WaitUntil(mutex_, deadline.when());
  }
}

Result<ClientDevice*> ClientSetEnd::OpenDevice(std::string_view name) {
  MutexLock lock(mutex_);
  if (closed_) {
    return ClosedError();
  }
  if (aborted()) {
    return Error(Code::kAborted, "device set '{}' was aborted: {}", name_, abort_reason_.message());
  }
  if (!config_) {
    return Error(Code::kFailedPrecondition, "device set '{}' is not configured yet", name_);
  }
  if (std::all_of(devices_.begin(), devices_.end(),
                  [](const auto& one) { return one != nullptr; })) {
    return Error(Code::kAlreadyExists, "all {} devices of set '{}' are open", devices_.size(),
                 name_);
  }
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) {
    return Error(Code::kInvalidArgument, "device set '{}' has no device '{}'", name_, name);
  }
  const auto index = static_cast<std::size_t>(found - names_.begin());
  if (devices_[index]) {
    return Error(Code::kFailedPrecondition, "device '{}' is open already", name);
  }
  ClientBuffers buffers;
  if (buffers_) {
    buffers = {.data = buffers_->data(), .size = buffers_->size()};
  }
  CAPSTAN_CRASH_POINT("vdi.client.before_open_device");
  devices_[index] = std::make_unique<ClientDeviceEnd>(*this, device_area(index),
                                                      header().engine_sleep, buffers, *found);
  devices_[index]->Open();
  CAPSTAN_CRASH_POINT("vdi.client.after_open_device");
  return devices_[index].get();
}

Status ClientSetEnd::Close() {
  bool left_open = false;
  std::vector<ClientDeviceEnd*> opened;
  {
    MutexLock lock(mutex_);
    if (closed_) {
      return OkStatus();
    }
    closed_ = true;
    for (const auto& device : devices_) {
      if (device) {
        opened.push_back(device.get());
        left_open |= !device->closed_by_engine();
      }
    }
    changed_.NotifyAll();
  }
  CAPSTAN_CRASH_POINT("vdi.client.before_close");
  if (left_open) {
    AbortSet(Error(Code::kAborted, "the client closed the set with devices open"));
  } else {
    [[maybe_unused]] const Status told = SendMessage(socket_.get(), NewMessage<CloseMessage>());
  }
  ::shutdown(socket_.get(), SHUT_RDWR);
  thread_.join();
  // Without our lock: whoever is still in GetCommand wants it to say why the set ended.
  for (ClientDeviceEnd* device : opened) {
    device->Retire();
  }
  MutexLock lock(mutex_);
  buffers_.reset();
  control_.reset();
  CAPSTAN_CRASH_POINT("vdi.client.after_close");
  return left_open ? Error(Code::kAlreadyExists,
                           "device set '{}' was closed with devices open; it "
                           "was aborted",
                           name_)
                   : OkStatus();
}

void ClientSetEnd::AbortSet(Status why) {
  const AbortMessage message = NewAbortMessage(why);
  if (EndSet(std::move(why))) {
    CAPSTAN_CRASH_POINT("vdi.client.before_abort");
    // If it cannot be told, the engine sees end-of-file.
    if (const Status told = SendMessage(socket_.get(), message); !told.ok()) {
      ::shutdown(socket_.get(), SHUT_RDWR);
    }
    CAPSTAN_CRASH_POINT("vdi.client.after_abort");
  }
}

bool ClientSetEnd::EndSet(Status why) {
  MutexLock lock(mutex_);
  if (aborted() || !control_) {
    return false;  // over already; without a control area, closed
  }
  abort_reason_ = std::move(why);
  aborted_.store(true, std::memory_order_seq_cst);
  changed_.NotifyAll();
  for (const auto& device : devices_) {
    if (device) {
      device->Wake();
    }
  }
  return true;
}

Status ClientSetEnd::AbortedError() const {
  MutexLock lock(mutex_);
  return Error(Code::kAborted, "device set '{}' was aborted: {}", name_, abort_reason_.message());
}

Status ClientSetEnd::ClosedError() const {
  return Error(Code::kFailedPrecondition, "device set '{}' is closed", name_);
}

void ClientSetEnd::Listen() {
  for (;;) {
    auto received = ReceiveMessage(socket_.get(), Passing::kAcceptFd);
    if (!received.ok() || received->end_of_file()) {
      EndSet(Error(Code::kUnavailable, "the engine is gone{}{}", received.ok() ? "" : ": ",
                   received.status().message()));
      return;
    }
    UniqueFd passed_fd = std::move(received->passed_fd);
    if (!HandleMessage(*received, std::move(passed_fd))) {
      return;
    }
  }
}

bool ClientSetEnd::HandleMessage(const ReceivedMessage& message, UniqueFd passed_fd) {
  if (message.header().type == static_cast<std::uint16_t>(MessageType::kClose)) {
    return false;
  }
  if (const auto aborted = message.As<AbortMessage>(); aborted.ok()) {
    EndSet(Error(Code::kAborted, "{}", (*aborted).text.view()));
    return false;
  }
  const auto configured = message.As<ConfiguredMessage>();
  Status done =
      configured.ok() ? Configure(*configured, std::move(passed_fd)) : configured.status();
  if (!done.ok()) {
    AbortSet(std::move(done));
  }
  return true;
}

Status ClientSetEnd::Configure(const ConfiguredMessage& message, UniqueFd passed_fd) {
  const std::uint32_t device_count = message.config.device_count;
  if (device_count < 1 || device_count > kDeviceCountMax || device_count != header().device_count) {
    return Error(Code::kDataLoss, "the engine configured {} devices", device_count);
  }
  CAPSTAN_CRASH_POINT("vdi.client.before_configured");
  std::optional<SharedMemory> buffers;
  if (message.buffer_area_size != 0) {
    CAPSTAN_ASSIGN_OR_RETURN(
        buffers, SharedMemory::Adopt(std::move(passed_fd), message.buffer_area_size,
                                     std::max<std::uint32_t>(message.config.alignment, kPageSize)));
    buffers->Populate();
  }
  MutexLock lock(mutex_);
  if (config_) {
    return Error(Code::kDataLoss, "the engine configured the set twice");
  }
  buffers_ = std::move(buffers);
  for (std::uint32_t i = 0; i < device_count; ++i) {
    names_.emplace_back(message.names[i].view());
  }
  devices_.resize(device_count);
  config_ = message.config;
  changed_.NotifyAll();
  CAPSTAN_CRASH_POINT("vdi.client.after_configured");
  return OkStatus();
}

ControlHeader& ClientSetEnd::header() const {
  return *std::launder(reinterpret_cast<ControlHeader*>(control_->data()));
}

DeviceArea& ClientSetEnd::device_area(std::size_t index) const {
  return *std::launder(reinterpret_cast<DeviceArea*>(control_->data() + sizeof(ControlHeader) +
                                                     index * kDeviceAreaSize));
}

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

// The engine's answer to Create, as an error or the descriptor of the control area.
Result<SharedMemory> AwaitControlArea(int socket) {
  pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, kAnswerPatienceMs);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    return Error(Code::kUnavailable, "the engine did not answer in {} ms", kAnswerPatienceMs);
  }
  CAPSTAN_ASSIGN_OR_RETURN(ReceivedMessage received, ReceiveMessage(socket, Passing::kAcceptFd));
  if (received.end_of_file()) {
    return Error(Code::kUnavailable, "the engine closed the connection");
  }
  CAPSTAN_ASSIGN_OR_RETURN(const CreatedMessage answer, received.As<CreatedMessage>());
  if (answer.code != static_cast<std::int32_t>(Code::kOk)) {
    return Status(static_cast<Code>(answer.code), std::string(answer.text.view()));
  }
  return SharedMemory::Adopt(std::move(received.passed_fd), answer.control_size, kPageSize);
}

}  // namespace

Result<std::unique_ptr<ClientDeviceSet>> ClientDeviceSet::Create(const std::string& rendezvous_path,
                                                                 std::string_view name,
                                                                 const DeviceSetConfig& wishes) {
  const std::string context = fmt::format("unable to create device set '{}'", name);
  auto request = NewMessage<CreateMessage>();
  if (name.size() > kSetNameSizeMax) {
    return Error(Code::kInvalidArgument, "{}: the name has {} bytes; {} are allowed", context,
                 name.size(), kSetNameSizeMax);
  }
  request.wishes = wishes;
  request.name.Set(name);
  CAPSTAN_ASSIGN_OR_RETURN(UniqueFd socket, ConnectSocket(rendezvous_path));
  CAPSTAN_CRASH_POINT("vdi.client.before_create");
  CAPSTAN_RETURN_IF_ERROR(Annotate(SendMessage(socket.get(), request), context));
  CAPSTAN_CRASH_POINT("vdi.client.after_request");
  auto control = AwaitControlArea(socket.get());
  if (!control.ok()) {
    return Annotate(std::move(control).status(), context);
  }
  CAPSTAN_RETURN_IF_ERROR(Annotate(CheckControlArea(*control, wishes.device_count), context));
  CAPSTAN_CRASH_POINT("vdi.client.after_create");
  return std::unique_ptr<ClientDeviceSet>(std::make_unique<ClientSetEnd>(
      std::string(name), std::move(socket), std::move(control).value()));
}

}  // namespace capstan::vdi
