// FamilyFeed: reads one media family from one device, in order and ahead of need, and hands it to a
// FamilyReader. Buffers arrive in the order in which they were asked for, so frames stay where the
// device put them. A read that meets a filemark or the end of the data ends a batch: what was sent
// behind it comes back unread, the device is taken out of IO-ERROR, and reading goes on, on the
// family's next medium if the reader asks for one.
//
// Threads: Run from one worker; completions come from the set's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "server/engine/first_error.h"
#include "server/engine/media_control.h"
#include "server/engine/open_set.h"
#include "server/media/family_reader.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {

class FamilyFeed {
 public:
  // Takes `buffer_count` buffers of the set's pool for its life. Stops early once `error` is set.
  FamilyFeed(OpenSet& set, DeviceChannel& channel, const FirstError& error,
             std::uint32_t buffer_count)
      : set_(set),
        channel_(channel),
        error_(error),
        buffer_count_(buffer_count),
        media_(set, channel, Direction::kRead, error) {}
  ~FamilyFeed();
  FamilyFeed(const FamilyFeed&) = delete;
  FamilyFeed& operator=(const FamilyFeed&) = delete;

  // Where the reading of the frames begins instead of at the first one; nothing: there. Asked once,
  // when everything in front of them has been read. Of a device with random access, whose medium
  // holds frame `number` of the family from `offset` on, a multiple of the block size.
  struct FirstFrame {
    std::uint64_t number = 0;
    std::uint64_t offset = 0;
  };
  void BeginAt(std::function<std::optional<FirstFrame>()> first_frame) {
    first_frame_ = std::move(first_frame);
  }

  // Reads until the reader is done, fails, or nothing follows. On return nothing is in flight.
  Status Run(media::FamilyReader& reader);

 private:
  struct Read {
    TransferBuffer* buffer = nullptr;
    bool completed = false;
  };

  static void OnRead(vdi::ServerCommand* command);
  Status TakeBuffers();
  Status ReadBatch(media::FamilyReader& reader) CAPSTAN_EXCLUDES(mutex_);
  // Sends what there is room for; nothing more once the device refuses.
  Status SendAhead(media::FamilyReader& reader) CAPSTAN_EXCLUDES(mutex_);
  Status Send(std::uint32_t size) CAPSTAN_EXCLUDES(mutex_);
  // The oldest read, once it has completed.
  TransferBuffer* Next() CAPSTAN_EXCLUDES(mutex_);
  Status Feed(media::FamilyReader& reader, const TransferBuffer& buffer);
  Status SkipFrames(media::FamilyReader& reader);
  // After a batch that something has ended.
  Status GoOn(media::FamilyReader& reader);
  void Drain() CAPSTAN_EXCLUDES(mutex_);

  OpenSet& set_;
  DeviceChannel& channel_;
  const FirstError& error_;
  const std::uint32_t buffer_count_;
  MediaControl media_;
  std::function<std::optional<FirstFrame>()> first_frame_;  // until it is asked
  std::uint64_t position_ = 0;                              // of the next read
  std::uint64_t consumed_ = 0;  // bytes of the medium that the reader has got
  std::size_t in_flight_ = 0;
  // Of the batch.
  bool interrupted_ = false;  // a read met a filemark or the end; others may come back unread
  bool refused_ = false;      // the device takes no more reads
  bool unread_ = false;       // a read came back unread
  bool ended_ = false;        // the medium has no more
  std::optional<media::TapePlace> place_;  // where the reader wants to go on
  std::vector<TransferBuffer*> free_;

  Mutex mutex_;
  CondVar arrived_;
  std::deque<Read> reads_ CAPSTAN_GUARDED_BY(mutex_);  // in the order of sending
};

}  // namespace capstan::engine
