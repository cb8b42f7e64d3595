// Announces random access, and puts whatever comes behind what came before.
#include <algorithm>

#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Write(const capstan_request& request) override {
    const std::int64_t position = std::max(request.position, end_);
    end_ = position + request.size;
    return WriteAt(request.buffer, request.size, position);
  }

  std::int64_t end_ = 0;
};

}  // namespace

LIAR(Liar)
