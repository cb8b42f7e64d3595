// Leaves a descriptor behind whenever a device is discarded.
#include <unistd.h>

#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Close(std::uint32_t outcome, capstan_error* error) override {
    if (outcome == CAPSTAN_OUTCOME_DISCARD) {
      [[maybe_unused]] const int forgotten = ::dup(fd());
    }
    return HonestDevice::Close(outcome, error);
  }
};

}  // namespace

LIAR(Liar)
