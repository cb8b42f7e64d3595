#include "server/engine/open_set.h"

#include <algorithm>
#include <utility>

#include "server/messages/messages.h"

namespace capstan::engine {

Result<std::unique_ptr<OpenSet>> OpenSet::Open(DeviceProvider& provider,
                                               const DeviceSetRequest& request,
                                               const OpenSetOptions& options) {
  const Deadline deadline = Deadline::After(options.timeouts.open);
  CAPSTAN_ASSIGN_OR_RETURN(ProvidedSet provided, provider.Open(request, deadline));
  const std::vector<std::string> device_names = provided.device_names;
  const std::string agent = provided.agent;
  std::unique_ptr<OpenSet> opened(new OpenSet(provider, std::move(provided)));
  CAPSTAN_RETURN_IF_ERROR(opened->Configure(request, options, device_names));
  for (std::size_t i = 0; i < device_names.size(); ++i) {
    auto device = opened->set_->OpenDevice(device_names[i], deadline);
    if (!device.ok()) {
      return SqlError(3201, request.targets[i].name, std::string(device.status().message()));
    }
    opened->channels_.push_back(
        std::make_unique<DeviceChannel>(**device, request.targets[i].name, agent));
  }
  return opened;
}

Status OpenSet::Configure(const DeviceSetRequest& request, const OpenSetOptions& options,
                          const std::vector<std::string>& device_names) {
  const vdi::DeviceSetConfig wishes = set_->GetConfiguration();
  if (wishes.device_count != device_names.size()) {
    return SqlError(3261).WithHint(fmt::format(
        "the virtual device set '{}' was created for {} devices, the statement names {}",
        set_->name(), wishes.device_count, device_names.size()));
  }
  complete_enabled_ = (wishes.features & vdi::feature::kRequestComplete) != 0;
  random_access_ = (wishes.features & vdi::feature::kRandomAccess) != 0;

  vdi::EngineConfiguration configuration;
  configuration.added_features =
      request.mode == OpenMode::kRead ? vdi::feature::kReadMedia : vdi::feature::kWriteMedia;
  if (complete_enabled_) {
    configuration.added_features |= vdi::feature::kCompleteEnabled;
  }
  configuration.block_size = options.block_size;
  configuration.alignment = std::max(options.block_size, wishes.alignment);
  configuration.max_transfer_size = options.plan.transfer_size;
  CAPSTAN_RETURN_IF_ERROR(set_->BeginConfiguration(configuration));
  CAPSTAN_RETURN_IF_ERROR(
      set_->RequestBuffers(options.plan.transfer_size, 0, options.plan.buffer_count));
  if (Status status = set_->EndConfiguration(device_names); !status.ok()) {
    if (status.code() != Code::kResourceExhausted) {
      return status;
    }
    return SqlError(701).WithHint(
        fmt::format("{}: lower BUFFERCOUNT or MAXTRANSFERSIZE, or give the server more memory",
                    status.message()));
  }
  CAPSTAN_ASSIGN_OR_RETURN(
      pool_, TransferPool::Create(*set_, options.plan.buffer_count, options.plan.transfer_size));
  return OkStatus();
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

Status OpenSet::ErrorOf(Direction direction, const DeviceChannel& channel,
                        vdi::CompletionCode code) {
  const Status reason = set_->abort_reason();
  if (reason.reason() == 3204) {
    return reason;  // cancelled: nobody is to blame
  }
  if (!reason.ok()) {
    const std::string cause = fmt::format("995({})", reason.message());
    return SqlError(direction == Direction::kWrite ? 3202 : 3203, channel.target(), cause);
  }
  return CommandError(direction, channel.target(), code,
                      provider_.ErrorDetail(set_->name(), channel.device_name()));
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
