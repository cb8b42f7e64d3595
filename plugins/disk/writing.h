// Writing: what a device that writes has under way, until it counts or is gone: a new medium
// (Construction) or more at the end of one that exists (Appending).
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "plugins/disk/failure.h"

namespace capstan::disk {

class Writing {
 public:
  virtual ~Writing() = default;  // leaves everything where it is, unlocked

  // The file that takes the bytes, and a name that leads to it now.
  virtual int fd() const = 0;
  virtual std::string file_path() const = 0;

  // Bytes that were there before and must not be written to.
  virtual std::int64_t committed() const = 0;

  // Nothing behind this is shown to who reads.
  virtual std::int64_t read_end() const { return std::numeric_limits<std::int64_t>::max(); }

  // What is written shall end there if it is recovered from now on. Durable once the file is
  // synced.
  virtual Failure NoteEnd(std::int64_t /*end*/) { return Failure::None(); }

  // Publish was called, and what was written may count.
  virtual bool published() const = 0;

  // Fails when the file or its directory is no longer reachable by name: removed by someone, or
  // another file system was mounted there, or ours went away.
  virtual Failure CheckPresence() const = 0;

  // Lets what was written count, durably. The data must be durable before. Idempotent.
  virtual Failure Publish() = 0;

  // Undoes what was begun, also when it was published already. Idempotent.
  virtual Failure Discard() = 0;
};

}  // namespace capstan::disk
