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
  CAPSTAN_ASSIGN_OR_RETURN(ProvidedSet provided, provider.Open(request, deadline));
  const std::vector<std::string> device_names = provided.device_names;
  const std::string agent = provided.agent;
  std::unique_ptr<OpenSet> opened(new OpenSet(provider, std::move(provided)));
  CAPSTAN_RETURN_IF_ERROR(opened->Configure(request, options, device_names));
  for (std::size_t i = 0; i < device_names.size(); ++i) {
    auto device = opened->set_->OpenDevice(device_names[i], deadline);
    if (!device.ok()) {
      return SqlError(3201, request.targets[i].name,
                      fmt::format("995({})", device.status().message()));
    }
    opened->channels_.push_back(
        std::make_unique<DeviceChannel>(**device, request.targets[i].name, agent));
  }
  return opened;
}

Status OpenSet::Configure(const DeviceSetRequest& request, const OpenSetOptions& options,
                          const std::vector<std::string>& device_names) {
  wishes_ = set_->GetConfiguration();
  if (wishes_.device_count != device_names.size()) {
    return SqlError(3261).WithHint(fmt::format(
        "the virtual device set '{}' was created for {} devices, the statement names {}",
        set_->name(), wishes_.device_count, device_names.size()));
  }
  CAPSTAN_RETURN_IF_ERROR(CheckFilemarks());
  complete_enabled_ = Has(vdi::feature::kRequestComplete);
  block_size_ = options.block_size;

  vdi::EngineConfiguration configuration;
  configuration.added_features =
      request.mode == OpenMode::kRead ? vdi::feature::kReadMedia : vdi::feature::kWriteMedia;
  if (request.mode != OpenMode::kRead && removable() && (hard_filemarks() || random_access())) {
    configuration.added_features |= vdi::feature::kReadMedia;  // a next medium is looked at first
  }
  if (complete_enabled_) {
    configuration.added_features |= vdi::feature::kCompleteEnabled;
  }
  configuration.block_size = options.block_size;
  configuration.alignment = std::max(options.block_size, wishes_.alignment);
  configuration.max_transfer_size = options.plan.transfer_size;
  CAPSTAN_RETURN_IF_ERROR(set_->BeginConfiguration(configuration));
  spares_.resize(removable() ? device_names.size() : 0);
  const auto spare_count = static_cast<std::uint32_t>(spares_.size());
  CAPSTAN_RETURN_IF_ERROR(
      set_->RequestBuffers(options.plan.transfer_size, 0, options.plan.buffer_count + spare_count));
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
  for (TransferBuffer& spare : spares_) {
    CAPSTAN_ASSIGN_OR_RETURN(std::byte * data, set_->AllocateBuffer(options.plan.transfer_size, 0));
    spare.data = std::span(data, options.plan.transfer_size);
    spare.command.buffer = data;
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
  if (reason.reason() != 0) {
    return reason;  // the job itself ended the set: it was cancelled, or knew what had failed
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
