// Says that it goes on with what was kept, and begins with an empty medium.
#include <fcntl.h>

#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int OpenFlags(bool resumes) const override {
    return HonestDevice::OpenFlags(resumes) | (resumes ? O_TRUNC : 0);
  }
};

}  // namespace

LIAR(Liar)
