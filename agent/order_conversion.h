// Between the messages of coordinator.proto and the agent's own types. No I/O.
#pragma once

#include <string>
#include <vector>

#include "capstan/v1/coordinator.pb.h"

#include "agent/device_set_runner.h"
#include "agent/media_plugin.h"
#include "vdi/base/status.h"

namespace capstan::agent {

// kInvalidArgument: an unknown mode or action.
Result<DeviceSetOrder> DeviceSetOrderOf(const v1::OpenDeviceSet& message);
Result<capstan_recover_action> RecoverActionOf(const v1::RecoverMedia& message);

v1::PluginInfo PluginInfoOf(const MediaPluginInfo& info);
v1::DeviceReport DeviceReportOf(const std::vector<DeviceLoad>& loads);
v1::OrderResult OrderResultOf(std::uint64_t order_id, const OrderOutcome& outcome);

}  // namespace capstan::agent
