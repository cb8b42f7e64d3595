// Clauses about loading, and about agents and plugins of different ages.
#include <bit>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/text.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

constexpr std::uint32_t kKnownCapabilities = 0xFF;
constexpr std::uint32_t kKnownFeatures = 0x373;
constexpr std::size_t kGarbage = 64;
constexpr unsigned char kGarbageByte = 0xA5;

// A struct of a version that is not written yet: what we know in front, and more behind it.
template <typename T>
struct Grown {
  T known{};
  unsigned char later[kGarbage];

  Grown() {
    std::memset(later, kGarbageByte, sizeof(later));
    known.struct_size = sizeof(Grown);
  }
  void ExpectUntouched(std::string_view what) const {
    for (const unsigned char byte : later) {
      if (byte != kGarbageByte) {
        Broken("{} was written to behind the fields of version 1", what);
      }
    }
  }
};

void CheckText(const char* text, std::string_view what, bool may_be_empty) {
  if (text == nullptr) {
    Broken("{} is null", what);
  }
  if (!IsUtf8(text) || (*text == '\0' && !may_be_empty)) {
    Broken("{} is '{}'", what, text);
  }
}

void CheckFunctions(const capstan_plugin& plugin) {
  const bool complete = plugin.open != nullptr && plugin.submit != nullptr &&
                        plugin.close != nullptr && plugin.stat != nullptr;
  if (!complete) {
    Broken("open, submit, close and stat are not all there");
  }
  if ((plugin.capabilities & CAPSTAN_CAN_REMOVE) != 0 && plugin.remove == nullptr) {
    Broken("it announces CAPSTAN_CAN_REMOVE and has no remove()");
  }
  if ((plugin.capabilities & CAPSTAN_CAN_RECOVER) != 0 && plugin.recover == nullptr) {
    Broken("it announces CAPSTAN_CAN_RECOVER and has no recover()");
  }
}

}  // namespace

void CheckDescription(Case& test) {
  const capstan_plugin& plugin = test.plugin().abi();
  if (plugin.struct_size < offsetof(capstan_plugin, configure)) {
    Broken("struct_size is {}, version 1 has at least {}", plugin.struct_size,
           offsetof(capstan_plugin, configure));
  }
  if (plugin.abi_version != CAPSTAN_PLUGIN_ABI_VERSION) {
    Broken("abi_version is {}, expected {}", plugin.abi_version, CAPSTAN_PLUGIN_ABI_VERSION);
  }
  CheckText(plugin.name, "name", false);
  CheckText(plugin.version, "version", false);
  CheckText(plugin.vendor, "vendor", true);
  CheckText(plugin.schemes, "schemes", true);
  CheckText(plugin.device_class, "device_class", false);
  const std::string_view device_class = plugin.device_class;
  if (device_class != "DISK" && device_class != "URL" && device_class != "TAPE") {
    Broken("device_class is '{}'; statements have DISK, URL and TAPE", device_class);
  }
  if (!std::has_single_bit(plugin.alignment) || plugin.alignment > 65536) {
    Broken("alignment is {}, which is no power of two up to 65536", plugin.alignment);
  }
  if ((plugin.capabilities & ~kKnownCapabilities) != 0 ||
      (plugin.device_features & ~kKnownFeatures) != 0) {
    Broken("capabilities {:#x} or device_features {:#x} have bits that nobody knows",
           plugin.capabilities, plugin.device_features);
  }
  CheckFunctions(plugin);
  std::string why;
  if (LoadPlugin(test.setup().plugin, &why) != &plugin) {
    Broken("capstan_plugin_get gives another address the second time");
  }
}

void CheckUnknownOption(Case& test) {
  const capstan_plugin& plugin = test.plugin().abi();
  if (!test.facts().configures) {
    Skip("the plugin has no options");
  }
  capstan_error error{};
  if (plugin.configure("no-such-option-of-any-plugin", "1", &error) == 0) {
    Broken("configure took the key 'no-such-option-of-any-plugin'");
  }
  if (error.message[0] == '\0') {
    Broken("configure refused an unknown key without a message");
  }
}

void CheckFutureAgent(Case& test) {
  Subject& plugin = test.plugin();
  const OpenWish wish = test.Wish();
  Grown<capstan_open_params> params;
  params.known.mode = CAPSTAN_OPEN_REPLACE;
  params.known.target = wish.target.c_str();
  params.known.token = wish.token.c_str();
  params.known.block_size = plugin.Aligned(512);
  params.known.max_transfer_size = 1U << 20;
  params.known.queue_depth_max = 4;
  capstan_device* raw = nullptr;
  capstan_error error{};
  if (plugin.abi().open(&params.known, &raw, &error) != 0) {
    Broken("open refuses larger parameters: {}", MessageOf(error));
  }
  Device device(plugin, raw);
  GuardedBuffer buffer(kBlock);
  buffer.Fill(0, 1);
  auto& request = *new Grown<capstan_request>;
  static std::atomic<int> completions{0};
  request.known.op = CAPSTAN_OP_WRITE;
  request.known.buffer = buffer.data();
  request.known.size = buffer.size();
  request.known.complete = [](capstan_request*) { ++completions; };
  if (plugin.abi().submit(raw, &request.known, &error) != 0) {
    Broken("submit refuses a larger request: {}", MessageOf(error));
  }
  device.Run(CAPSTAN_OP_FLUSH);  // alone, so the WRITE is complete by then
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
  if (completions == 0 || request.known.completion_code != 0) {
    Broken("a larger WRITE ended with {}: {}", request.known.completion_code,
           MessageOf(request.known.error));
  }
  Grown<capstan_stat_result> stat;
  if (plugin.abi().stat(wish.target.c_str(), &stat.known, &error) != 0) {
    Broken("stat refuses a larger result: {}", MessageOf(error));
  }
  params.ExpectUntouched("capstan_open_params");
  request.ExpectUntouched("capstan_request");
  stat.ExpectUntouched("capstan_stat_result");
}

void CheckUnknownOperation(Case& test) {
  Device device = test.plugin().Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  Request& request = device.Submit(999, nullptr, 0, 0);
  if (device.CodeOf(request) != CAPSTAN_E_UNSUPPORTED) {
    Broken("operation 999 ended with {}, expected {}", request.seen.completion_code,
           CAPSTAN_E_UNSUPPORTED);
  }
  device.Run(CAPSTAN_OP_CLEAR_ERROR);
  device.Close(CAPSTAN_OUTCOME_DISCARD);
}

}  // namespace capstan::plugin_check
