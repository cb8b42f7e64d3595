// No lie: what the liars are compared with.
#include "tests/conformance/liars/honest_device.h"

LIAR(capstan::test::HonestDevice)
