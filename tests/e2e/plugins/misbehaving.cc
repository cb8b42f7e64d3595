// A plugin that does to its process whatever SCHEME says, when the job is in its middle. Built once
// for each way, as URL devices of that scheme: "crash:///folder/medium".
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <sys/resource.h>
#include <unistd.h>

#include "tests/conformance/liars/honest_device.h"

namespace {

using capstan::test::HonestDevice;

constexpr std::string_view kWay = SCHEME;
// WRITEs that go well before it happens.
constexpr int kGoodWrites = 4;
constexpr rlim_t kMemoryMax = 1U << 30;  // bytes of address space, as an administrator may set it
constexpr std::size_t kBite = 64U << 20;

[[noreturn]] void Block() {
  for (;;) {
    ::pause();
  }
}

[[noreturn]] void Spin() {
  for (std::atomic<unsigned> count{0};; ++count) {
  }
}

// Takes memory and never gives it back, until there is none.
[[noreturn]] void Devour() {
  const rlimit limit{.rlim_cur = kMemoryMax, .rlim_max = kMemoryMax};
  ::setrlimit(RLIMIT_AS, &limit);
  for (;;) {
    char* const bite = new char[kBite];  // nobody catches what it throws in the end
    std::fill_n(bite, kBite, '\1');
    [[maybe_unused]] static volatile char* last;
    last = bite;
  }
}

class Misbehaving final : public HonestDevice {
  int Submit(capstan_request* request, capstan_error* error) override {
    if (request->op == CAPSTAN_OP_WRITE && ++writes_ > kGoodWrites) {
      if (kWay == "crash") {
        std::abort();
      }
      if (kWay == "block") {
        Block();
      }
      if (kWay == "spin") {
        Spin();
      }
      if (kWay == "devour") {
        Devour();
      }
    }
    return HonestDevice::Submit(request, error);
  }
  // The job fails, and then there is no end of it.
  int Write(const capstan_request& request) override {
    return kWay == "linger" && writes_ > kGoodWrites ? EIO : HonestDevice::Write(request);
  }
  int Close(std::uint32_t outcome, capstan_error* error) override {
    if (kWay == "linger" && outcome != CAPSTAN_OUTCOME_DONE) {
      Block();
    }
    return HonestDevice::Close(outcome, error);
  }

  int writes_ = 0;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const capstan_plugin* capstan_plugin_get(
    uint32_t) {
  static capstan_plugin plugin = *capstan::test::PluginOf(
      []() -> std::unique_ptr<HonestDevice> { return std::make_unique<Misbehaving>(); });
  plugin.name = SCHEME;
  plugin.device_class = "URL";
  plugin.schemes = SCHEME;
  return &plugin;
}
