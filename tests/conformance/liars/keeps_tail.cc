// Of a medium that was gone on with, it keeps what an earlier opening wrote behind the new end.
#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Cut() override { return 0; }
};

}  // namespace

LIAR(Liar)
