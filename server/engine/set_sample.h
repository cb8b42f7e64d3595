// A sample of one media family: everything in front of the frames and behind them, the index
// included, and of the frames a part that chance chooses, spread over the whole set.
//
// Threads: one per family.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "server/engine/damage_report.h"
#include "server/engine/family_gate.h"
#include "server/engine/set_coding.h"
#include "server/media/family_reader.h"
#include "server/media/set_digest.h"
#include "vdi/base/guid.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::engine {

// The families of an encrypted set are unlocked once for all, since a passphrase costs memory and
// time. Threads: any.
class SampleKeys {
 public:
  explicit SampleKeys(KeyRing keys) : keys_(std::move(keys)) {}

  // As UnlockCoding.
  Result<SetCoding> Unlock(const media::BackupSet& set, const std::string& target)
      CAPSTAN_EXCLUDES(mutex_);

 private:
  const KeyRing keys_;
  Mutex mutex_;
  std::map<Guid, SetCoding> codings_ CAPSTAN_GUARDED_BY(mutex_);
};

struct SampleRequest {
  std::string target;  // for messages
  SampleKeys& keys;
  media::SetDigest& digest;  // gets all frames, as the index has them
  std::uint16_t file_number = 1;
  double percent = 100;    // of the frames, more than 0
  std::uint64_t seed = 0;  // decides which
};

// The beginning and the end of a family, and the frames in between, of which none is read.
struct FamilyIndex {
  ArrivedFamily arrived;
  FinishedFamily finished;
  std::vector<media::LostFrame> frames;  // in the family's order
  std::uint64_t set_offset = 0;          // of its SSET
};

// 3241 if the end is damaged or missing. Of `request` it takes what leads to the set. REQUIRES: the
// source has random access.
Result<FamilyIndex> ReadFamilyIndex(media::MediumSource& source, const SampleRequest& request,
                                    DamageReport& damage);

struct SampledFamily {
  ArrivedFamily arrived;
  FinishedFamily finished;
  std::uint64_t frames_read = 0;
  std::uint64_t bytes_read = 0;  // of payload
};

// Frames that are bad, which those are that cannot be decoded, are noted in `damage`; whatever else
// is wrong is an error, also that the set cannot be unlocked. REQUIRES: the source has random
// access.
Result<SampledFamily> SampleFamily(media::MediumSource& source, const SampleRequest& request,
                                   DamageReport& damage);

}  // namespace capstan::engine
