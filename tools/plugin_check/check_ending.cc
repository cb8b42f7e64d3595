// Clauses about the end of a device: what is undone, how soon, and what is left.
#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/surroundings.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

constexpr std::chrono::seconds kCloseMax{5};
constexpr int kRounds = 50;
constexpr int kWarmUp = 5;
constexpr std::uint32_t kRoundBytes = 256U << 10;
// An allocator keeps some of what was freed; a leak of the rounds' data is three times this.
constexpr std::size_t kMemoryMax = 4U << 20;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMemoryTells = false;  // AddressSanitizer keeps for a while what was freed
#elif defined(__has_feature)
constexpr bool kMemoryTells = !__has_feature(address_sanitizer);
#else
constexpr bool kMemoryTells = true;
#endif

}  // namespace

void CheckDiscardKeepsOld(Case& test) {
  Subject& plugin = test.plugin();
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), 1);
  OpenWish second = test.Wish();
  second.token = "check-2";
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, second);
  plugin.WriteBlocks(device, 2, 2);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Close(CAPSTAN_OUTCOME_DISCARD);
  if (const auto difference = plugin.MediumDifference(test.Wish().target, 1); !difference.empty()) {
    Broken("{}", difference);
  }
}

void CheckDiscardLeavesNothing(Case& test) {
  Subject& plugin = test.plugin();
  // Folders and locks that the plugin makes once are there after this.
  plugin.Open(CAPSTAN_OPEN_CREATE, test.Wish()).Close(CAPSTAN_OUTCOME_DISCARD);
  const std::vector<std::string> before = FilesBelow(test.setup().files);
  Device device = plugin.Open(CAPSTAN_OPEN_CREATE, test.Wish());
  plugin.WriteBlocks(device, 1, 4);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Close(CAPSTAN_OUTCOME_DISCARD);
  if (plugin.Stat(test.Wish().target).exists != 0) {
    Broken("the medium is there after close(DISCARD)");
  }
  capstan_error error{};
  if (plugin.Can(CAPSTAN_CAN_RECOVER) &&
      plugin.TryRecover(test.Wish(), CAPSTAN_RECOVER_COMMIT, &error) == 0) {
    Broken("recover(COMMIT) finds something after close(DISCARD)");
  }
  for (const std::string& path : FilesBelow(test.setup().files)) {
    if (!std::binary_search(before.begin(), before.end(), path)) {
      Broken("'{}' is left after close(DISCARD)", path);
    }
  }
}

void CheckDiscardAfterComplete(Case& test) {
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_CREATE, test.Wish());
  plugin.WriteBlocks(device, 1, 1);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DISCARD);
  if (plugin.Stat(test.Wish().target).exists != 0) {
    Broken("the medium is there after COMPLETE and close(DISCARD)");
  }
}

void CheckCloseGivesUp(Case& test) {
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  std::vector<GuardedBuffer> buffers;
  std::vector<Request*> requests;
  for (std::uint64_t block = 0; block < 16; ++block) {
    buffers.emplace_back(kBlock).Fill(block * kBlock, 1);
    requests.push_back(&device.StartWrite(buffers.back(), block * kBlock));
  }
  const auto begin = std::chrono::steady_clock::now();
  capstan_error error{};
  device.TryClose(CAPSTAN_OUTCOME_DISCARD, &error);
  const auto taken = std::chrono::steady_clock::now() - begin;
  std::vector<int> at_close;
  for (const Request* request : requests) {
    at_close.push_back(request->completions);
  }
  if (taken > kCloseMax) {
    Broken("close(DISCARD) with 16 WRITEs in flight took {} ms",
           std::chrono::duration_cast<std::chrono::milliseconds>(taken).count());
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  for (std::size_t index = 0; index < requests.size(); ++index) {
    if (requests[index]->accepted && at_close[index] == 0) {
      Broken("{} was accepted and not completed when close returned{}", requests[index]->Describe(),
             requests[index]->completions > 0 ? ", but afterwards" : "");
    }
  }
}

void CheckNothingAccumulates(Case& test) {
  Subject& plugin = test.plugin();
  const auto round = [&] {
    Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
    GuardedBuffer buffer(kRoundBytes);
    buffer.Fill(0, 1);
    device.Write(buffer, 0);
    device.Close(CAPSTAN_OUTCOME_DISCARD);
  };
  for (int count = 0; count < kWarmUp; ++count) {
    round();
  }
  const Holdings before = HoldingsOfThisProcess();
  for (int count = 0; count < kRounds; ++count) {
    round();
  }
  const Holdings after = SettledHoldings(before);
  if (after.descriptors > before.descriptors || after.threads > before.threads) {
    Broken("after {} devices there are {} descriptors and {} threads more", kRounds,
           static_cast<std::ptrdiff_t>(after.descriptors - before.descriptors),
           static_cast<std::ptrdiff_t>(after.threads - before.threads));
  }
  if (kMemoryTells && after.resident_bytes > before.resident_bytes + kMemoryMax) {
    Broken("after {} devices {} KiB more are in use", kRounds,
           (after.resident_bytes - before.resident_bytes) >> 10U);
  }
}

}  // namespace capstan::plugin_check
