// Confirms a FLUSH when the kernel has the bytes. A kill does not show it, a power cut does.
#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Flush() override { return 0; }
};

}  // namespace

LIAR(Liar)
