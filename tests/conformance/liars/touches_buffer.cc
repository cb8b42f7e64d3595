// Looks once more at a buffer that it has given back, to see whether the bytes are still the same.
#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Write(const capstan_request& request) override {
    last_ = static_cast<const volatile char*>(request.buffer);
    return HonestDevice::Write(request);
  }
  int Flush() override {
    if (last_ != nullptr) {
      [[maybe_unused]] const char seen = *last_;
    }
    return HonestDevice::Flush();
  }

  const volatile char* last_ = nullptr;
};

}  // namespace

LIAR(Liar)
