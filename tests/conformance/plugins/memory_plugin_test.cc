// The fake passes the suite that the real ones pass.
#include "tests/support/memory_plugin.h"

#include "agent/abi_plugin.h"
#include "tests/conformance/plugins/media_conformance.h"

namespace capstan::test {
namespace {

class MemoryPlace final : public MediaPlace {
 public:
  MemoryPlace() : plugin_(agent::WrapPlugin(MemoryPlugin(), "memory").value()) {
    ForgetMemoryMedia();
  }
  agent::MediaPlugin& plugin() override { return *plugin_; }
  std::string TargetOf(const std::string& name) override { return "mem:" + name; }
  std::size_t LeftOverCount() override { return MemoryConstructionCount(); }

 private:
  std::unique_ptr<agent::MediaPlugin> plugin_;
};

MediaUnderTest Memory() {
  return {.name = "Memory",
          .make_place = [](std::string*) { return std::make_unique<MemoryPlace>(); },
          .mode = "memory"};
}

INSTANTIATE_TEST_SUITE_P(Plugin, MediaConformance, testing::Values(Memory()), NameOf);
INSTANTIATE_TEST_SUITE_P(Plugin, AppendConformance, testing::Values(Memory()), NameOf);
INSTANTIATE_TEST_SUITE_P(Plugin, ResumeConformance, testing::Values(Memory()), NameOf);

}  // namespace
}  // namespace capstan::test
