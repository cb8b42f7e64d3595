// A sample of one media family: everything in front of the frames and behind them, the index
// included, and of the frames a part that chance chooses, spread over the whole set.
//
// Threads: one per family.
#pragma once

#include <cstdint>
#include <string>

#include "server/engine/damage_report.h"
#include "server/engine/family_gate.h"
#include "server/media/family_reader.h"
#include "vdi/base/status.h"

namespace capstan::engine {

struct SampleRequest {
  std::string target;  // for messages
  std::uint16_t file_number = 1;
  double percent = 100;    // of the frames, more than 0
  std::uint64_t seed = 0;  // decides which
};

struct SampledFamily {
  ArrivedFamily arrived;
  FinishedFamily finished;
  std::uint64_t frames_read = 0;
  std::uint64_t bytes_read = 0;  // of payload
};

// Frames that are bad are noted in `damage`; whatever else is wrong is an error. REQUIRES: the
// source has random access.
Result<SampledFamily> SampleFamily(media::MediumSource& source, const SampleRequest& request,
                                   DamageReport& damage);

}  // namespace capstan::engine
