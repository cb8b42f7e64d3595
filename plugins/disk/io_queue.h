// IoQueue: carries out a device's requests in the background, in one of several ways.
//
// Transfers (READ, WRITE) may overtake each other; any other operation waits until everything
// submitted before it has ended, and everything submitted after it waits for it. What a request
// means is the RequestHandler's business; the queue only moves bytes.
#pragma once

#include <cstdint>

#include "capstan/plugin.h"

namespace capstan::disk {

// One READ or WRITE on its way.
struct Transfer {
  capstan_request* request = nullptr;
  std::uint32_t done = 0;  // bytes moved so far
  int fd = -1;             // what the current attempt uses
};

// Called by one thread of the queue at a time, so that an implementation needs no lock.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;

  // Chooses the descriptor for what is left of the transfer. Any thread.
  virtual int DescriptorFor(const Transfer& transfer) const = 0;

  // Takes the result of one attempt: bytes, or a negative errno. True if the request has been
  // completed; false if the rest is to be tried again.
  virtual bool Advance(Transfer& transfer, int result) = 0;

  // Carries out an operation that is not a transfer, and completes it. May block.
  virtual void RunControl(capstan_request* request) = 0;
};

class IoQueue {
 public:
  virtual ~IoQueue() = default;  // REQUIRES: Drain has returned, nothing was submitted since

  // One thread at a time, also from inside a completion.
  virtual void Submit(capstan_request* request) = 0;

  // Waits until everything submitted has completed. The kernel ends every request in flight, sooner
  // or later; there is nothing to be done about one that it does not.
  virtual void Drain() = 0;

  virtual bool uses_io_uring() const = 0;
};

}  // namespace capstan::disk
