// Clauses about CAPSTAN_OPEN_APPEND.
#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

// The seed of a block tells who wrote it; position-dependent bytes make both parts one medium.
constexpr unsigned kSeed = 1;

OpenWish Second(const Case& test) {
  OpenWish wish = test.Wish();
  wish.token = "check-2";
  return wish;
}

void ExpectBlocks(Subject& plugin, const Case& test, int blocks, std::string_view when) {
  if (const auto difference = plugin.MediumDifference(test.Wish().target, kSeed, blocks);
      !difference.empty()) {
    Broken("{}: {}", when, difference);
  }
}

// A medium of one block, and a device that has appended another.
Device Append(Subject& plugin, const Case& test) {
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), kSeed);
  Device device = plugin.Open(CAPSTAN_OPEN_APPEND, Second(test));
  plugin.WriteBlocks(device, kSeed, 1, kBlock);
  device.Run(CAPSTAN_OP_FLUSH);
  return device;
}

}  // namespace

void CheckAppendCounts(Case& test) {
  Subject& plugin = test.plugin();
  Device device = Append(plugin, test);
  ExpectBlocks(plugin, test, 1, "before COMPLETE");
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
  ExpectBlocks(plugin, test, 2, "after COMPLETE");
}

void CheckAppendDiscard(Case& test) {
  Subject& plugin = test.plugin();
  Device device = Append(plugin, test);
  device.Close(CAPSTAN_OUTCOME_DISCARD);
  ExpectBlocks(plugin, test, 1, "after close(DISCARD)");
}

void CheckAppendBelowEnd(Case& test) {
  Subject& plugin = test.plugin();
  Device device = Append(plugin, test);
  GuardedBuffer buffer(kBlock);
  buffer.Fill(0, kSeed + 1);
  if (device.CodeOf(device.StartWrite(buffer, 0)) == CAPSTAN_E_OK) {
    Broken("a WRITE below the end of the medium was completed with 0");
  }
  device.Run(CAPSTAN_OP_CLEAR_ERROR);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
  ExpectBlocks(plugin, test, 2, "after a refused WRITE");
}

// Whoever appends asks where the end is, also on media that do not announce positions of their own.
void CheckAppendFindsEnd(Case& test) {
  Subject& plugin = test.plugin();
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), kSeed, 2);
  Device device = plugin.Open(CAPSTAN_OPEN_APPEND, Second(test));
  Request& request = device.Submit(CAPSTAN_OP_SET_POSITION, nullptr, 2, 0);
  if (device.CodeOf(request) != CAPSTAN_E_OK || request.seen.out_position != 2 * kBlock) {
    Broken("of a medium of {} bytes it ended with {}, and says {}", 2 * kBlock,
           request.seen.completion_code, request.seen.out_position);
  }
  device.Close(CAPSTAN_OUTCOME_DISCARD);
}

void CheckAppendKept(Case& test) {
  test.Dying([&](Subject& plugin) { Append(plugin, test); });
  test.In([&](Subject& plugin) {
    ExpectBlocks(plugin, test, 1, "after SIGKILL");
    plugin.Recover(Second(test), CAPSTAN_RECOVER_COMMIT);
    plugin.Recover(Second(test), CAPSTAN_RECOVER_COMMIT);
    ExpectBlocks(plugin, test, 2, "after recover(COMMIT)");
  });
}

}  // namespace capstan::plugin_check
