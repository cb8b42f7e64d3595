// Completes a WRITE when it is handed on, and again when it is done.
#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  void Finish(capstan_request* request) override {
    const bool again = request->op == CAPSTAN_OP_WRITE;
    HonestDevice::Finish(request);
    if (again) {
      HonestDevice::Finish(request);
    }
  }
};

}  // namespace

LIAR(Liar)
