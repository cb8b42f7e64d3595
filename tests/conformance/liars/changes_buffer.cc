// Turns the bytes of a WRITE around where they lie, and back when it has written them.
#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Write(const capstan_request& request) override {
    auto* const first = static_cast<volatile char*>(request.buffer);
    const char before = *first;
    *first = static_cast<char>(~before);
    *first = before;
    return HonestDevice::Write(request);
  }
};

}  // namespace

LIAR(Liar)
