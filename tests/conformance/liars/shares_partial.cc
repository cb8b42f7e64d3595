// Goes on with what another device is still writing.
#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  bool Locks(bool resumes) const override { return !resumes; }
};

}  // namespace

LIAR(Liar)
