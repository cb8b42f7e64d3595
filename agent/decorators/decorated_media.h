// DecorateMedia: a plugin as the agent uses it: what it does is measured, what fails for a while is
// done again, and limits of the rate are kept.
//
// Threads: as MediaPlugin.
#pragma once

#include <cstdint>
#include <memory>

#include "agent/decorators/alarms.h"
#include "agent/decorators/retrying_media.h"
#include "agent/media_plugin.h"

namespace capstan::agent {

struct DecorationOptions {
  RetryOptions retry;
  std::uint64_t bytes_per_second_max = 0;  // of all devices together, 0 = no limit
};

// `alarms` outlives the plugin and its devices.
std::unique_ptr<MediaPlugin> DecorateMedia(std::unique_ptr<MediaPlugin> plugin,
                                           const DecorationOptions& options, Alarms& alarms);

}  // namespace capstan::agent
