#include "server/engine/open_set.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::engine {

Result<std::unique_ptr<OpenSet>> OpenSet::Open(DeviceProvider& provider,
                                               const DeviceSetRequest& request,
                                               const OpenSetOptions& options) {
  const Deadline deadline = Deadline::After(options.timeouts.open);
  const Log log{.file = options.error_log, .session_id = static_cast<int>(request.job_id)};
  const auto open = [&]() -> Result<std::unique_ptr<OpenSet>> {
    CAPSTAN_ASSIGN_OR_RETURN(ProvidedSet provided, provider.Open(request, deadline));
    const ProvidedSet names{
        .set = nullptr, .device_names = provided.device_names, .agent = provided.agent};
    std::unique_ptr<OpenSet> opened(new OpenSet(provider, std::move(provided), log));
    CAPSTAN_RETURN_IF_ERROR(opened->Configure(request, options, names.device_names));
    CAPSTAN_RETURN_IF_ERROR(opened->OpenDevices(request, names, deadline));
    return opened;
  };
  auto opened = open();
  if (const Status status = opened.status(); status.earlier() != nullptr && log.file != nullptr) {
    LogError(*log.file, log.session_id, *status.earlier());
  }
  return opened;
}

Status OpenSet::OpenDevices(const DeviceSetRequest& request, const ProvidedSet& provided,
                            Deadline deadline) {
  for (std::size_t i = 0; i < provided.device_names.size(); ++i) {
    auto device = set_->OpenDevice(provided.device_names[i], deadline);
    if (!device.ok()) {
      return Lost(kOpenDeviceOrigin, request.targets[i].name, device.status(), kOpenVirtualDevice);
    }
    channels_.push_back(
        std::make_unique<DeviceChannel>(**device, request.targets[i].name, provided.agent));
  }
  return OkStatus();
}

Status OpenSet::Configure(const DeviceSetRequest& request, const OpenSetOptions& options,
                          const std::vector<std::string>& device_names) {
  const std::string& target = request.targets.front().name;
  transfer_ = request.mode == OpenMode::kRead ? vdi::CommandCode::kRead : vdi::CommandCode::kWrite;
  wishes_ = set_->GetConfiguration();
  if (wishes_.device_count != device_names.size()) {
    return SqlError(3261).WithHint(fmt::format(
        "the virtual device set '{}' was created for {} devices, the statement names {}",
        set_->name(), wishes_.device_count, device_names.size()));
  }
  CAPSTAN_RETURN_IF_ERROR(CheckFilemarks());
  of_plugin_ = request.device_class != "VIRTUAL_DEVICE";
  complete_enabled_ = Has(vdi::feature::kRequestComplete);
  block_size_ = options.block_size;
  if (request.bytes_per_second_max != 0) {
    rate_patience_ = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(static_cast<double>(options.plan.total_bytes()) /
                                      static_cast<double>(request.bytes_per_second_max)));
  }

  vdi::EngineConfiguration configuration;
  configuration.added_features =
      request.mode == OpenMode::kRead ? vdi::feature::kReadMedia : vdi::feature::kWriteMedia;
  // What is there is looked at before more is written: on a next medium, in front of an append, or
  // where a job was interrupted.
  if (request.mode == OpenMode::kAppend || request.resume ||
      (request.mode != OpenMode::kRead && removable() && (hard_filemarks() || random_access()))) {
    configuration.added_features |= vdi::feature::kReadMedia;
  }
  if (complete_enabled_) {
    configuration.added_features |= vdi::feature::kCompleteEnabled;
  }
  configuration.block_size = options.block_size;
  configuration.alignment = std::max(options.block_size, wishes_.alignment);
  configuration.max_transfer_size = options.plan.transfer_size;
  spares_ = std::vector<TransferBuffer>(removable() ? device_names.size() : 0);
  const auto spare_count = static_cast<std::uint32_t>(spares_.size());
  Status configured = set_->BeginConfiguration(configuration);
  if (configured.ok()) {
    configured = set_->RequestBuffers(options.plan.transfer_size, 0,
                                      options.plan.buffer_count + spare_count);
  }
  if (configured.ok()) {
    configured = set_->EndConfiguration(device_names);
  }
  if (configured.code() == Code::kResourceExhausted) {
    if (log_.file != nullptr) {
      LogError(
          *log_.file, log_.session_id,
          SqlError(18210, kBufferOrigin.where, kBufferOrigin.what, target, CauseOf(configured)));
    }
    return SqlError(701).WithHint(
        fmt::format("{}: lower BUFFERCOUNT or MAXTRANSFERSIZE, or give the server more memory",
                    configured.message()));
  }
  if (configured.code() == Code::kInvalidArgument) {
    return SqlError(3261).WithHint(std::string(configured.message()));
  }
  if (!configured.ok()) {
    return Lost(kBufferOrigin, target, configured, kInitializeVirtualDevice);
  }
  if (const Status taken = TakeBuffers(options.plan); !taken.ok()) {
    return Lost(kAllocateOrigin, target, taken, kInitializeVirtualDevice);
  }
  return OkStatus();
}

Status OpenSet::TakeBuffers(const BufferPlan& plan) {
  CAPSTAN_ASSIGN_OR_RETURN(pool_,
                           TransferPool::Create(*set_, plan.buffer_count, plan.transfer_size));
  for (TransferBuffer& spare : spares_) {
    CAPSTAN_ASSIGN_OR_RETURN(std::byte * data, set_->AllocateBuffer(plan.transfer_size, 0));
    spare.data = std::span(data, plan.transfer_size);
  }
  return OkStatus();
}

// The size of a client's own soft filemarks is recorded in 16 bits, in units of 512 bytes.
Status OpenSet::CheckFilemarks() const {
  const std::uint32_t size = wishes_.soft_filemark_block_size;
  if (size % 512 != 0 || size / 512 > std::numeric_limits<std::uint16_t>::max()) {
    return SqlError(3261).WithHint(fmt::format(
        "soft filemarks of {} bytes are not possible: a multiple of 512 below 32 MiB is", size));
  }
  return OkStatus();
}

media::MediumForm OpenSet::medium_form() const {
  if (!hard_filemarks()) {
    return {};
  }
  return {
      .hard_filemarks = true,
      .block_size = block_size_,
      .soft_filemark_units = static_cast<std::uint16_t>(wishes_.soft_filemark_block_size / 512)};
}

Status OpenSet::Lost(const FailureOrigin& origin, const std::string& target, const Status& failure,
                     int state) const {
  const Status reason = set_->abort_reason();
  if (reason.reason() == 3204) {
    return reason;  // cancelled: nobody is to blame
  }
  return VirtualDeviceOpenError(origin, target, CauseOf(failure), state)
      .WithHint(AbortHint("opening it", reason.ok() ? failure : reason));
}

std::string OpenSet::AbortHint(std::string_view phase, const Status& reason) const {
  std::string hint = fmt::format("device set '{}', served by pid {}, ended while {}: {}",
                                 set_->name(), set_->client_pid(), phase, reason.message());
  if (!reason.hint().empty()) {
    hint += fmt::format("; {}", reason.hint());
  }
  return hint;
}

OpenSet::~OpenSet() {
  if (!closed_) {
    set_->SignalAbort(SqlError(3204));
    (void)set_->Close();  // the abort is the outcome; Close can only repeat it
  }
}

Status OpenSet::Close() {
  if (std::exchange(closed_, true)) {
    return OkStatus();
  }
  Status first;
  for (const auto& channel : channels_) {
    if (Status status = channel->Close(); !status.ok() && first.ok()) {
      first = std::move(status);
    }
  }
  Status closed = set_->Close();
  return first.ok() ? std::move(closed) : std::move(first);
}

Status OpenSet::ErrorOf(Direction direction, const DeviceChannel& channel, vdi::CompletionCode code,
                        std::optional<vdi::CommandCode> command) {
  const Status reason = set_->abort_reason();
  if (reason.reason() != 0) {
    return reason;  // the job itself ended the set: it was cancelled, or knew what had failed
  }
  std::string cause(vdi::CompletionText(vdi::CompletionCode::kOperationAborted));
  if (reason.ok()) {
    const std::string detail = provider_.ErrorDetail(set_->name(), channel.device_name());
    cause = detail.empty() ? std::string(vdi::CompletionText(code)) : detail;
  }
  LogFailure(channel.target(), cause, command);
  Status error = SqlError(direction == Direction::kWrite ? 3202 : 3203, channel.target(), cause);
  if (!reason.ok()) {
    return std::move(error).WithHint(AbortHint(PhaseOf(command.value_or(transfer_)), reason));
  }
  // Where the plugin knows what can be done, or there is nothing to say in general, its own words.
  std::string own = provider_.ErrorHint(channel.device_name());
  return std::move(error).WithHint(own.empty() ? std::string(TransferHint(cause)) : std::move(own));
}

Status OpenSet::Execute(Direction direction, DeviceChannel& channel, vdi::CommandCode code) {
  vdi::ServerCommand command;
  command.code = code;
  CAPSTAN_ASSIGN_OR_RETURN(const vdi::ServerCommand done, channel.Execute(command));
  return done.completion_code == vdi::CompletionCode::kSuccess
             ? OkStatus()
             : ErrorOf(direction, channel, done.completion_code, code);
}

void OpenSet::LogFailure(const std::string& target, const std::string& cause,
                         std::optional<vdi::CommandCode> command) {
  if (log_.file == nullptr || logged_.exchange(true)) {
    return;
  }
  const FailureOrigin origin = OriginOf(command.value_or(transfer_));
  LogError(*log_.file, log_.session_id, SqlError(18210, origin.where, origin.what, target, cause));
}

std::vector<DeviceSnapshot> OpenSet::Sample() {
  const std::uint64_t now = MonotonicNanos();
  std::vector<DeviceSnapshot> devices;
  devices.reserve(channels_.size());
  for (const auto& channel : channels_) {
    devices.push_back(channel->Sample(now));
  }
  return devices;
}

}  // namespace capstan::engine
