// FamilyGate: where the families of a restore meet. Each arrives with what its header says; when
// all are there they are checked against one another, and only then may any of them deliver a
// frame. So a wrong, missing or doubled family is refused before the target is touched.
//
// Threads: any.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/media/backup_set.h"
#include "server/media/family_reader.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::engine {

// What one device turned out to hold.
struct ArrivedFamily {
  std::string target;  // for messages
  media::MediaHeader header;
  media::BackupSet set;
};

// 3132, 3227, 3231, 3258 or 3232 unless the families, with `lost_count` more that cannot be read,
// are one whole media set with one backup set.
Status CheckFamilies(const std::vector<ArrivedFamily>& families, std::size_t lost_count = 0);

// What a family's end said, and what it really held.
struct FinishedFamily {
  std::string target;
  media::SetTrailer trailer;
  media::FamilySummary seen;
};

// 3189 with a hint unless every family held what every family's end says it must hold. Where an end
// is damaged, as far as that can be said.
Status CheckWhole(const std::vector<FinishedFamily>& families);

class FamilyGate {
 public:
  // `on_all` runs once, on the thread that arrives last, after CheckFamilies, with one of them.
  FamilyGate(std::size_t count, std::function<Status(const ArrivedFamily&)> on_all)
      : count_(count), on_all_(std::move(on_all)) {}

  // Waits for the others. The status of the whole: the same for everybody.
  Status Arrive(ArrivedFamily family) CAPSTAN_EXCLUDES(mutex_);
  // A family cannot be read, and the job goes on without it; with `why` if there is no other.
  void Lose(Status why) CAPSTAN_EXCLUDES(mutex_);
  // Somebody failed and will never arrive: everybody who waits is let go with this status.
  void Fail(Status status) CAPSTAN_EXCLUDES(mutex_);

 private:
  void DecideIfAll() CAPSTAN_REQUIRES(mutex_);

  const std::size_t count_;
  const std::function<Status(const ArrivedFamily&)> on_all_;
  Mutex mutex_;
  CondVar decided_cv_;
  std::vector<ArrivedFamily> arrived_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<Status> lost_ CAPSTAN_GUARDED_BY(mutex_);
  std::optional<Status> decided_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::engine
