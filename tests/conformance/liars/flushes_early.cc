// Confirms a FLUSH while everything is in its own memory, and writes it out at the end only.
#include <map>
#include <vector>

#include "tests/conformance/liars/honest_device.h"

namespace {

class Liar final : public capstan::test::HonestDevice {
  int Write(const capstan_request& request) override {
    const auto* const bytes = static_cast<const char*>(request.buffer);
    held_[request.position].assign(bytes, bytes + request.size);
    return 0;
  }
  int Flush() override { return 0; }
  int Complete() override {
    const int status = Keep();
    return status == 0 ? HonestDevice::Complete() : status;
  }
  int Keep() override {
    for (const auto& [position, bytes] : held_) {
      if (const int status = WriteAt(bytes.data(), bytes.size(), position); status != 0) {
        return status;
      }
    }
    return 0;
  }

  std::map<std::int64_t, std::vector<char>> held_;
};

}  // namespace

LIAR(Liar)
