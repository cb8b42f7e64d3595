// ThrottledMedia: holds reads and writes back until the limits allow them: that of the agent, and
// that of the job, which comes with OpenMediumOptions.
//
// Requests keep their order on each device. Submit does not wait: what must wait is submitted by an
// alarm. Close gives up what still waits.
//
// Threads: as MediaPlugin.
#pragma once

#include "agent/decorators/alarms.h"
#include "agent/decorators/media_decorator.h"
#include "agent/decorators/rate_limit.h"

namespace capstan::agent {

class ThrottledMedia final : public MediaDecorator {
 public:
  // `limit` is the agent's, null if it has none. `alarms` outlives the plugin and its devices.
  ThrottledMedia(std::unique_ptr<MediaPlugin> plugin, std::shared_ptr<RateLimit> limit,
                 Alarms& alarms)
      : MediaDecorator(std::move(plugin)), limit_(std::move(limit)), alarms_(alarms) {}

  Result<std::unique_ptr<MediaDevice>> Open(const OpenMediumOptions& options) override;

 private:
  const std::shared_ptr<RateLimit> limit_;
  Alarms& alarms_;
};

}  // namespace capstan::agent
