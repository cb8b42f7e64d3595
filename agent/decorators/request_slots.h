// RequestSlots: the requests of a decorator's own that stand for those of its caller: a plugin gets
// the copy, and the decorator is told when it completes.
//
// Threads: any.
#pragma once

#include <memory>
#include <vector>

#include "capstan/plugin.h"
#include "vdi/base/mutex.h"

namespace capstan::agent {

// Slot must have the member `capstan_request* outer`.
template <typename Slot>
class RequestSlots {
 public:
  // A slot for the request; the caller fills in everything of it but `outer`.
  Slot* Take(capstan_request* outer) CAPSTAN_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (free_.empty()) {
      slots_.push_back(std::make_unique<Slot>());
      free_.push_back(slots_.back().get());
    }
    Slot* const slot = free_.back();
    free_.pop_back();
    slot->outer = outer;
    return slot;
  }

  void Give(Slot* slot) CAPSTAN_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    free_.push_back(slot);
  }

 private:
  Mutex mutex_;
  std::vector<std::unique_ptr<Slot>> slots_ CAPSTAN_GUARDED_BY(mutex_);  // all that exist
  std::vector<Slot*> free_ CAPSTAN_GUARDED_BY(mutex_);
};

// What the caller asked for, to be completed by `complete` with `context`.
inline capstan_request CopyOfRequest(const capstan_request& outer,
                                     void (*complete)(capstan_request*), void* context) {
  capstan_request copy{};
  copy.struct_size = sizeof(copy);
  copy.op = outer.op;
  copy.buffer = outer.buffer;
  copy.size = outer.size;
  copy.position = outer.position;
  copy.complete = complete;
  copy.context = context;
  return copy;
}

// What came of it. The caller completes `outer` afterwards.
inline void CopyOutcome(const capstan_request& copy, capstan_request* outer) {
  outer->completion_code = copy.completion_code;
  outer->bytes_transferred = copy.bytes_transferred;
  outer->out_position = copy.out_position;
  outer->error = copy.error;
}

}  // namespace capstan::agent
