// Tells standard output how things are going.
#include <cstdio>

#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Complete() override {
    std::puts("medium complete");
    return HonestDevice::Complete();
  }
};

}  // namespace

LIAR(Liar)
