// FamilyFeed: reads one media family from one device, in order and ahead of need, and hands it to a
// FamilyReader. Buffers arrive in the order in which they were asked for, so frames stay where the
// device put them.
//
// Threads: Run from one worker; completions come from the set's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "server/engine/first_error.h"
#include "server/engine/open_set.h"
#include "server/media/family_reader.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {

class FamilyFeed {
 public:
  // Takes `buffer_count` buffers of the set's pool for its life. Stops early once `error` is set.
  FamilyFeed(OpenSet& set, DeviceChannel& channel, const FirstError& error,
             std::uint32_t buffer_count)
      : set_(set), channel_(channel), error_(error), buffer_count_(buffer_count) {}
  ~FamilyFeed();
  FamilyFeed(const FamilyFeed&) = delete;
  FamilyFeed& operator=(const FamilyFeed&) = delete;

  // Reads until the reader is done, fails, or the medium ends. On return nothing is in flight.
  // `set_known` is asked before every read: true once the set's header has been read. Only then may
  // reads run ahead: until then the size of the next read depends on what the last one held.
  Status Run(media::FamilyReader& reader, const std::function<bool()>& set_known);

 private:
  struct Read {
    TransferBuffer* buffer = nullptr;
    bool completed = false;
  };

  static void OnRead(vdi::ServerCommand* command);
  Status Send(std::uint32_t size) CAPSTAN_EXCLUDES(mutex_);
  // The oldest read, once it has completed.
  TransferBuffer* Next() CAPSTAN_EXCLUDES(mutex_);
  Status Feed(media::FamilyReader& reader, const TransferBuffer& buffer);
  void Drain() CAPSTAN_EXCLUDES(mutex_);

  OpenSet& set_;
  DeviceChannel& channel_;
  const FirstError& error_;
  const std::uint32_t buffer_count_;
  std::int64_t position_ = 0;  // of the next read
  bool ended_ = false;         // the medium has no more
  std::vector<TransferBuffer*> free_;

  Mutex mutex_;
  CondVar arrived_;
  std::deque<Read> reads_ CAPSTAN_GUARDED_BY(mutex_);  // in the order of sending
};

}  // namespace capstan::engine
