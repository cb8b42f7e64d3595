#include "agent/decorators/decorated_media.h"

#include <utility>

#include "agent/decorators/measured_media.h"
#include "agent/decorators/throttled_media.h"

namespace capstan::agent {

std::unique_ptr<MediaPlugin> DecorateMedia(std::unique_ptr<MediaPlugin> plugin,
                                           const DecorationOptions& options, Alarms& alarms) {
  auto measured = std::make_unique<MeasuredMedia>(std::move(plugin));
  auto retrying = std::make_unique<RetryingMedia>(std::move(measured), options.retry, alarms);
  auto limit = options.bytes_per_second_max == 0
                   ? nullptr
                   : std::make_shared<RateLimit>(options.bytes_per_second_max);
  return std::make_unique<ThrottledMedia>(std::move(retrying), std::move(limit), alarms);
}

}  // namespace capstan::agent
