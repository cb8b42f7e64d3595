#include "agent/order_conversion.h"

namespace capstan::agent {
namespace {

Result<capstan_open_mode> OpenModeOf(const v1::OpenDeviceSet& message) {
  switch (message.mode()) {
    case v1::OpenDeviceSet::MODE_READ:
      return CAPSTAN_OPEN_READ;
    case v1::OpenDeviceSet::MODE_REPLACE:
      return CAPSTAN_OPEN_REPLACE;
    case v1::OpenDeviceSet::MODE_CREATE:
      return CAPSTAN_OPEN_CREATE;
    case v1::OpenDeviceSet::MODE_APPEND:
      return CAPSTAN_OPEN_APPEND;
    default:
      return Error(Code::kInvalidArgument, "device set '{}' is to be opened in unknown mode {}",
                   message.set_name(), static_cast<int>(message.mode()));
  }
}

}  // namespace

Result<DeviceSetOrder> DeviceSetOrderOf(const v1::OpenDeviceSet& message) {
  DeviceSetOrder order;
  CAPSTAN_ASSIGN_OR_RETURN(order.mode, OpenModeOf(message));
  order.set_name = message.set_name();
  order.job_id = message.job_id();
  order.retain_until_unix_s = message.retain_until_unix_s();
  order.bytes_per_second_max = message.bytes_per_second_max();
  order.resume = message.resume();
  order.keep = message.keep();
  if (message.queue_depth_max() != 0) {
    order.queue_depth_max = message.queue_depth_max();
  }
  for (const v1::DeviceOrder& device : message.devices()) {
    order.devices.push_back({.device_name = device.device_name(),
                             .target = device.target(),
                             .token = device.token(),
                             .size_estimate = device.size_estimate()});
  }
  return order;
}

Result<capstan_recover_action> RecoverActionOf(const v1::RecoverMedia& message) {
  switch (message.action()) {
    case v1::RecoverMedia::ACTION_COMMIT:
      return CAPSTAN_RECOVER_COMMIT;
    case v1::RecoverMedia::ACTION_DISCARD:
      return CAPSTAN_RECOVER_DISCARD;
    default:
      return Error(Code::kInvalidArgument, "medium '{}' is to be recovered in unknown way {}",
                   message.target(), static_cast<int>(message.action()));
  }
}

v1::PluginInfo PluginInfoOf(const MediaPluginInfo& info) {
  v1::PluginInfo message;
  message.set_name(info.name);
  message.set_version(info.version);
  message.set_vendor(info.vendor);
  message.set_device_class(info.device_class);
  for (const std::string& scheme : info.schemes) {
    message.add_schemes(scheme);
  }
  message.set_capabilities(info.capabilities);
  message.set_device_features(info.device_features);
  message.set_alignment(info.alignment);
  return message;
}

v1::DeviceReport DeviceReportOf(const std::vector<DeviceLoad>& loads) {
  v1::DeviceReport report;
  for (const DeviceLoad& load : loads) {
    v1::DeviceLoad& message = *report.add_devices();
    message.set_set_name(load.set_name);
    message.set_device_name(load.device_name);
    message.set_target(load.target);
    message.set_bytes(load.bytes);
    message.set_bytes_per_second(load.bytes_per_second);
    message.set_queue_depth(load.queue_depth);
    message.set_errors(load.errors);
    message.set_last_error(load.last_error);
    message.set_last_error_text(load.last_error_text);
    message.set_last_error_hint(load.last_error_hint);
    message.set_mode(load.status.mode);
    message.set_stops(load.status.stops);
    message.set_medium_time_us(load.status.medium_time_us);
    message.set_medium(load.status.medium);
    message.set_waits_for(load.status.waits_for);
    message.set_requests(load.status.requests);
    message.set_request_time_us(load.status.request_time_us);
    message.set_request_time_max_us(load.status.request_time_max_us);
    message.set_throttled_us(load.status.throttled_us);
    message.set_retries(load.status.retries);
  }
  return report;
}

v1::OrderResult OrderResultOf(std::uint64_t order_id, const OrderOutcome& outcome) {
  v1::OrderResult result;
  result.set_order_id(order_id);
  result.set_code(static_cast<int>(outcome.status.code()));
  result.set_message(std::string(outcome.status.message()));
  result.set_os_error(outcome.status.os_error());
  result.set_target(outcome.target);
  result.set_hint(std::string(outcome.status.hint()));
  return result;
}

}  // namespace capstan::agent
