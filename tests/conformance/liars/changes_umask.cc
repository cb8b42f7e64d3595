// Wants its files to be readable, and changes the whole process for it.
#include <sys/stat.h>

#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Complete() override {
    ::umask(0);
    return HonestDevice::Complete();
  }
};

}  // namespace

LIAR(Liar)
