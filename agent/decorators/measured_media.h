// MeasuredMedia: counts the reads and writes of each device and takes their time, for
// MediaDeviceStatus. Stands nearest to the plugin: what it measures is the plugin and the medium,
// not the waits in front of them.
//
// Threads: as MediaPlugin.
#pragma once

#include "agent/decorators/media_decorator.h"

namespace capstan::agent {

class MeasuredMedia final : public MediaDecorator {
 public:
  using MediaDecorator::MediaDecorator;

  Result<std::unique_ptr<MediaDevice>> Open(const OpenMediumOptions& options) override;
};

}  // namespace capstan::agent
