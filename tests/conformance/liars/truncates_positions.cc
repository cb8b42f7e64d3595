// Keeps positions in 32 bits.
#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Write(const capstan_request& request) override {
    const auto position = static_cast<std::uint32_t>(request.position);
    return WriteAt(request.buffer, request.size, position);
  }
};

}  // namespace

LIAR(Liar)
