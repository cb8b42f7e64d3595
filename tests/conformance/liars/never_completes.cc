// Finds nothing to do for a second FLUSH, and forgets to say so.
#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  void Finish(capstan_request* request) override {
    const bool again = request->op == CAPSTAN_OP_FLUSH && flushed_;
    flushed_ = request->op == CAPSTAN_OP_FLUSH;
    if (!again) {
      HonestDevice::Finish(request);
    }
  }

  bool flushed_ = false;
};

}  // namespace

LIAR(Liar)
