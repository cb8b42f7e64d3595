// Clauses about how a plugin behaves in a process that is not its own.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/wait.h>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/surroundings.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {

void CheckThreads(Case& test) {
  const Holdings before = HoldingsOfThisProcess();
  Subject& plugin = test.plugin();
  [[maybe_unused]] const auto asked = plugin.Stat(test.Wish().target);
  const std::size_t loaded = SettledHoldings(before).threads;
  if (loaded > before.threads) {
    Broken("{} threads run before the first open", loaded - before.threads);
  }
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  plugin.WriteBlocks(device, 1, 2);
  device.Close(CAPSTAN_OUTCOME_DISCARD);
  const std::size_t closed = SettledHoldings(before).threads;
  if (closed > before.threads) {
    Broken("{} threads run after the last close", closed - before.threads);
  }
}

void CheckSignalsBlocked(Case& test) {
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  plugin.WriteBlocks(device, 1, 2);
  const auto found = ThreadsThatTakeSignals();
  device.Close(CAPSTAN_OUTCOME_DISCARD);
  if (!found.empty()) {
    Broken("{}", found.front());
  }
}

void CheckGlobalState(Case& test) {
  const std::vector<std::string> before = GlobalState();
  Subject& plugin = test.plugin();
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), 1);
  if (const auto difference = plugin.MediumDifference(test.Wish().target, 1); !difference.empty()) {
    Unjudged("{}", difference);
  }
  const std::vector<std::string> after = GlobalState();
  const auto [old_line, new_line] =
      std::mismatch(before.begin(), before.end(), after.begin(), after.end());
  if (old_line != before.end() && new_line != after.end()) {
    Broken("'{:.200}' became '{:.200}'", *old_line, *new_line);
  }
  if (::waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD) {
    Broken("the plugin has started a process");
  }
}

void CheckDeviceStatus(Case& test) {
  Subject& plugin = test.plugin();
  const capstan_plugin& abi = plugin.abi();
  if (abi.struct_size < sizeof(capstan_plugin) || abi.device_status == nullptr) {
    Skip("the plugin does not tell");
  }
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  plugin.WriteBlocks(device, 1, 1);
  capstan_device_status status;
  std::memset(&status, 0x5A, sizeof(status));
  status.struct_size = sizeof(status);
  status.mode[0] = status.medium[0] = status.waits_for[0] = '\0';
  capstan_error error{};
  if (abi.device_status(device.raw(), &status, &error) != 0) {
    Broken("device_status failed: {}", MessageOf(error));
  }
  if (::strnlen(status.mode, sizeof(status.mode)) == sizeof(status.mode) ||
      ::strnlen(status.medium, sizeof(status.medium)) == sizeof(status.medium) ||
      ::strnlen(status.waits_for, sizeof(status.waits_for)) == sizeof(status.waits_for)) {
    Broken("a text of device_status does not end within its field");
  }
  device.Close(CAPSTAN_OUTCOME_DISCARD);
}

}  // namespace capstan::plugin_check
