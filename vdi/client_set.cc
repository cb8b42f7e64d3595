#include "vdi/client_set.h"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include <sys/socket.h>

#include "vdi/base/crash_point.h"
#include "vdi/base/thread.h"

namespace capstan::vdi {
namespace {

constexpr std::uint32_t kPageSize = 4096;
constexpr std::uint32_t kMapAlignmentMax = 1 << 16;
// How much later than another process of the set this one may get a buffer area.
constexpr std::chrono::milliseconds kHandlePatience{1000};

Result<SharedMemory> AdoptArea(UniqueFd fd, std::uint64_t size, std::uint32_t alignment) {
  if (!std::has_single_bit(alignment) || alignment > kMapAlignmentMax) {
    return Error(Code::kDataLoss, "the engine passed a buffer area for alignment {}", alignment);
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      SharedMemory memory,
      SharedMemory::Adopt(std::move(fd), size, std::max(alignment, kPageSize)));
  memory.Populate();
  return memory;
}

}  // namespace

ClientSetEnd::ClientSetEnd(Origin origin)
    : name_(std::move(origin.name)),
      socket_(std::move(origin.socket)),
      member_(origin.member),
      control_(std::move(origin.control)) {}

Result<std::unique_ptr<ClientSetEnd>> ClientSetEnd::Start(Origin origin) {
  std::unique_ptr<ClientSetEnd> set(new ClientSetEnd(std::move(origin)));
  CAPSTAN_ASSIGN_OR_RETURN(set->thread_, StartThread(fmt::format("device set '{}'", set->name_),
                                                     [self = set.get()] { self->Listen(); }));
  return set;
}

Result<DeviceSetConfig> ClientSetEnd::GetConfiguration(Deadline deadline) {
  MutexLock lock(mutex_);
  for (bool in_time = true;;) {
    if (closed_) {
      return ClosedError();
    }
    if (aborted()) {
      return AbortedErrorLocked();
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
  CAPSTAN_ASSIGN_OR_RETURN(const std::size_t index, FindUnopened(name));
  const ClientDeviceEnd::Shared shared{.owner = *this,
                                       .buffers = buffers_,
                                       .engine_sleep = header().engine_sleep,
                                       .member = member_};
  CAPSTAN_CRASH_POINT("vdi.client.before_open_device");
  // What this process has opened stays open here, whatever the segment says: it is in use.
  if (devices_[index] || !ClientDeviceEnd::Claim(shared, device_area(index))) {
    return Error(Code::kFailedPrecondition, "device '{}' is open already", name);
  }
  devices_[index] = std::make_unique<ClientDeviceEnd>(shared, device_area(index), names_[index]);
  CAPSTAN_CRASH_POINT("vdi.client.after_open_device");
  return devices_[index].get();
}

Result<std::size_t> ClientSetEnd::FindUnopened(std::string_view name) const {
  if (closed_) {
    return ClosedError();
  }
  if (aborted()) {
    return AbortedErrorLocked();
  }
  CAPSTAN_RETURN_IF_ERROR(CheckConfigured());
  bool any_closed = false;
  bool any_open = false;
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    const std::uint32_t word = device_area(i).client_state.load(std::memory_order_acquire);
    any_closed |= word == kClientClosed;
    any_open |= StateOfWord(word) == kClientOpen;
  }
  if (!any_closed) {
    return any_open
               ? Error(Code::kAlreadyExists, "all {} devices of set '{}' are open", devices_.size(),
                       name_)
               : Error(Code::kFailedPrecondition,
                       "the engine has closed all {} devices of set '{}'", devices_.size(), name_);
  }
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) {
    return Error(Code::kInvalidArgument, "device set '{}' has no device '{}'", name_, name);
  }
  return static_cast<std::size_t>(found - names_.begin());
}

Result<BufferHandle> ClientSetEnd::GetBufferHandle(const std::byte* buffer) {
  MutexLock lock(mutex_);
  CAPSTAN_RETURN_IF_ERROR(CheckConfigured());
  const auto handle = buffers_.HandleOf(buffer, config_->alignment);
  if (!handle) {
    return Error(Code::kInvalidArgument, "the address is not that of a buffer of device set '{}'",
                 name_);
  }
  return *handle;
}

Result<std::byte*> ClientSetEnd::MapBufferHandle(BufferHandle handle) {
  std::uint32_t alignment = 0;
  {
    MutexLock lock(mutex_);
    CAPSTAN_RETURN_IF_ERROR(CheckConfigured());
    alignment = config_->alignment;
  }
  std::byte* const buffer = buffers_.AwaitAddressOf(handle, alignment, kHandlePatience);
  if (buffer == nullptr) {
    return Error(Code::kInvalidArgument, "{:#x} is not a buffer handle of device set '{}'", handle,
                 name_);
  }
  return buffer;
}

Status ClientSetEnd::abort_reason() const {
  MutexLock lock(mutex_);
  return abort_reason_;
}

bool ClientSetEnd::LeavesDevicesOpen() const {
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    if (devices_[i] ? !devices_[i]->closed_by_engine()
                    : member_ == 0 && StateOfWord(device_area(i).client_state.load(
                                          std::memory_order_acquire)) == kClientOpen) {
      return true;
    }
  }
  return false;
}

Status ClientSetEnd::Close() {
  bool left_open = false;
  std::vector<ClientDeviceEnd*> opened;
  {
    MutexLock lock(mutex_);
    if (closed_) {
      return ClosedError();
    }
    closed_ = true;
    left_open = !aborted() && LeavesDevicesOpen();
    for (const auto& device : devices_) {
      if (device) {
        opened.push_back(device.get());
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
  if (thread_.joinable()) {
    thread_.join();
  }
  // Without our lock: whoever is still in GetCommand wants it to say why the set ended.
  for (ClientDeviceEnd* device : opened) {
    device->Retire();
  }
  MutexLock lock(mutex_);
  buffers_.Clear();
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
  buffers_.Stop();
  for (const auto& device : devices_) {
    if (device) {
      device->Wake();
    }
  }
  return true;
}

void ClientSetEnd::Leave() {
  bool configured = false;
  {
    MutexLock lock(mutex_);
    configured = config_.has_value();
    // An engine closes the devices first: what waits now finds its close record, or never will.
    engine_left_.store(true, std::memory_order_seq_cst);
    for (const auto& device : devices_) {
      if (device) {
        device->Wake();
      }
    }
  }
  if (!configured) {
    AbortSet(Error(Code::kDataLoss, "the engine closed the set before it was configured"));
  }
}

Status ClientSetEnd::AbortedError() const {
  MutexLock lock(mutex_);
  return AbortedErrorLocked();
}

Status ClientSetEnd::AbortedErrorLocked() const {
  return Error(Code::kAborted, "device set '{}' was aborted: {}", name_, abort_reason_.message());
}

Status ClientSetEnd::CheckConfigured() const {
  if (closed_) {
    return ClosedError();
  }
  if (!config_) {
    return Error(Code::kFailedPrecondition, "device set '{}' is not configured yet", name_);
  }
  return OkStatus();
}

Status ClientSetEnd::ClosedError() const {
  return Error(Code::kFailedPrecondition, "device set '{}' is closed", name_);
}

bool ClientSetEnd::Closing() const {
  MutexLock lock(mutex_);
  return closed_;
}

void ClientSetEnd::Listen() {
  for (;;) {
    auto received = ReceiveMessage(socket_.get(), Passing::kAcceptFd);
    if (!received.ok() || received->end_of_file()) {
      if (Closing()) {
        return;  // this is our own doing
      }
      EndSet(Error(Code::kUnavailable, "the engine is gone{}{}", received.ok() ? "" : ": ",
                   received.status().message()));
      return;
    }
    UniqueFd passed_fd = std::move(received->passed_fd);
    if (!HandleMessage(*received, std::move(passed_fd))) {
      buffers_.Stop();
      return;
    }
  }
}

bool ClientSetEnd::HandleMessage(const ReceivedMessage& message, UniqueFd passed_fd) {
  if (message.header().type == static_cast<std::uint16_t>(MessageType::kClose)) {
    Leave();
    return false;
  }
  if (const auto aborted = message.As<AbortMessage>(); aborted.ok()) {
    EndSet(Error(Code::kAborted, "{}", (*aborted).text.view()));
    return false;
  }
  Status done;
  if (const auto area = message.As<AreaMessage>(); area.ok()) {
    done = AddArea(*area, std::move(passed_fd));
  } else {
    const auto configured = message.As<ConfiguredMessage>();
    done = configured.ok() ? Configure(*configured, std::move(passed_fd)) : configured.status();
  }
  if (!done.ok()) {
    AbortSet(std::move(done));
  }
  return true;
}

Status ClientSetEnd::AddArea(const AreaMessage& message, UniqueFd passed_fd) {
  CAPSTAN_ASSIGN_OR_RETURN(SharedMemory memory,
                           AdoptArea(std::move(passed_fd), message.size, message.alignment));
  CAPSTAN_CRASH_POINT("vdi.client.before_area");
  return buffers_.Add(message.index, std::move(memory));
}

Status ClientSetEnd::Configure(const ConfiguredMessage& message, UniqueFd passed_fd) {
  const std::uint32_t device_count = message.config.device_count;
  // The size of the control area is known here; what its header says may have changed since.
  if (device_count < 1 || device_count > kDeviceCountMax ||
      ControlAreaSize(device_count) != control_->size()) {
    return Error(Code::kDataLoss, "the engine configured {} devices", device_count);
  }
  if (!std::has_single_bit(message.config.alignment)) {
    return Error(Code::kDataLoss, "the engine configured an alignment of {}",
                 message.config.alignment);
  }
  CAPSTAN_CRASH_POINT("vdi.client.before_configured");
  if (message.buffer_area_size != 0) {
    CAPSTAN_ASSIGN_OR_RETURN(
        SharedMemory memory,
        AdoptArea(std::move(passed_fd), message.buffer_area_size, message.buffer_area_alignment));
    CAPSTAN_RETURN_IF_ERROR(buffers_.Add(0, std::move(memory)));
  }
  MutexLock lock(mutex_);
  if (config_) {
    return Error(Code::kDataLoss, "the engine configured the set twice");
  }
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

}  // namespace capstan::vdi
