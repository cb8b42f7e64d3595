// Takes what one write() has taken for all that there was, as happens with large ones.
#include <algorithm>

#include "tests/conformance/liars/honest_device.h"

namespace {

constexpr std::uint32_t kOneWrite = 1U << 20;

class Liar final : public capstan::test::HonestDevice {
  int Write(const capstan_request& request) override {
    return WriteAt(request.buffer, std::min(request.size, kOneWrite), request.position);
  }
};

}  // namespace

LIAR(Liar)
