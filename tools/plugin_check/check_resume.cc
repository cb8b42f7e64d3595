// Clauses about CAPSTAN_OPEN_RESUME.
#include <cerrno>
#include <cstring>
#include <string_view>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

constexpr unsigned kSeed = 1;
constexpr unsigned kNewSeed = 2;

OpenWish Resuming(const Case& test, const char* token = "check-1") {
  OpenWish wish = test.Wish();
  wish.token = token;
  wish.flags = CAPSTAN_OPEN_RESUME;
  return wish;
}

void ExpectBlocks(Subject& plugin, const Case& test, unsigned seed, int blocks,
                  std::string_view when) {
  if (const auto difference = plugin.MediumDifference(test.Wish().target, seed, blocks);
      !difference.empty()) {
    Broken("{}: {}", when, difference);
  }
}

void ExpectRead(Device& device, unsigned seed, int blocks) {
  for (int block = 0; block < blocks; ++block) {
    const std::uint64_t position = static_cast<std::uint64_t>(block) * kBlock;
    GuardedBuffer buffer(kBlock);
    Request& read = device.StartRead(buffer, position);
    if (device.CodeOf(read) != CAPSTAN_E_OK) {
      Broken("{} of what was flushed before ended with {}: {}", read.Describe(),
             read.seen.completion_code, MessageOf(read.seen.error));
    }
    if (const auto difference = buffer.Difference(position, seed, kBlock); !difference.empty()) {
      Broken("{} of what was flushed before: {}", read.Describe(), difference);
    }
  }
}

void ExpectRefused(Subject& plugin, capstan_open_mode mode, const OpenWish& wish, int expected,
                   std::string_view what) {
  capstan_device* raw = nullptr;
  capstan_error error{};
  if (plugin.TryOpen(mode, wish, &raw, &error) == 0) {
    Device(plugin, raw).Close(CAPSTAN_OUTCOME_KEEP);
    Broken("open(RESUME) of {} succeeded, expected {}", what, ::strerrorname_np(expected));
  }
  if (error.os_error != expected) {
    Broken("open(RESUME) of {} failed with {}, expected {}", what, MessageOf(error),
           ::strerrorname_np(expected));
  }
}

// A new medium that was flushed and kept.
void Keep(Subject& plugin, const OpenWish& wish, int blocks) {
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, wish);
  plugin.WriteBlocks(device, kSeed, blocks);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Close(CAPSTAN_OUTCOME_KEEP);
}

}  // namespace

void CheckResumeGoesOn(Case& test) {
  test.Dying([&](Subject& plugin) {
    Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
    plugin.WriteBlocks(device, kSeed, 4);
    device.Run(CAPSTAN_OP_FLUSH);
  });
  test.Dying([&](Subject& plugin) {
    Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, Resuming(test));
    ExpectRead(device, kSeed, 4);
    plugin.WriteBlocks(device, kNewSeed, 3);
    device.Run(CAPSTAN_OP_FLUSH);
  });
  test.In([&](Subject& plugin) {
    Device device = plugin.Open(CAPSTAN_OPEN_CREATE, Resuming(test));
    ExpectRead(device, kNewSeed, 3);
    plugin.WriteBlocks(device, kNewSeed, 3, 3 * kBlock);
    device.Run(CAPSTAN_OP_FLUSH);
    device.Run(CAPSTAN_OP_COMPLETE);
    device.Close(CAPSTAN_OUTCOME_DONE);
    ExpectBlocks(plugin, test, kNewSeed, 6, "after COMPLETE");
  });
}

void CheckResumeEndsMedium(Case& test) {
  Subject& plugin = test.plugin();
  for (const bool crashes : {false, true}) {
    Keep(plugin, test.Wish(), 4);
    Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, Resuming(test));
    plugin.WriteBlocks(device, kNewSeed, 2);
    device.Run(CAPSTAN_OP_FLUSH);
    if (crashes) {
      device.Close(CAPSTAN_OUTCOME_KEEP);
      plugin.Recover(test.Wish(), CAPSTAN_RECOVER_COMMIT);
    } else {
      device.Run(CAPSTAN_OP_COMPLETE);
      device.Close(CAPSTAN_OUTCOME_DONE);
    }
    ExpectBlocks(plugin, test, kNewSeed, 2,
                 crashes ? "of four blocks two were written again, then recover(COMMIT)"
                         : "of four blocks two were written again, then COMPLETE");
  }
}

void CheckResumeOfNothing(Case& test) {
  Subject& plugin = test.plugin();
  ExpectRefused(plugin, CAPSTAN_OPEN_REPLACE, Resuming(test), ENOENT, "a token that began nothing");
  Keep(plugin, test.Wish(), 1);
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, Resuming(test));
  plugin.WriteBlocks(device, kNewSeed, 1);
  device.Close(CAPSTAN_OUTCOME_DISCARD);
  ExpectRefused(plugin, CAPSTAN_OPEN_REPLACE, Resuming(test), ENOENT, "what was discarded");
  if (plugin.Stat(test.Wish().target).exists != 0) {
    Broken("the medium is there after close(DISCARD)");
  }
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), kSeed);
  for (const auto mode : {CAPSTAN_OPEN_REPLACE, CAPSTAN_OPEN_CREATE}) {
    ExpectRefused(plugin, mode, Resuming(test), ENOENT, "what was completed");
  }
  ExpectBlocks(plugin, test, kSeed, 1, "after a refused open");
}

void CheckResumeSecondWriter(Case& test) {
  Subject& plugin = test.plugin();
  Keep(plugin, test.Wish(), 1);
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, Resuming(test));
  ExpectRefused(plugin, CAPSTAN_OPEN_REPLACE, Resuming(test), EBUSY, "what is being written");
  device.Close(CAPSTAN_OUTCOME_DISCARD);
}

}  // namespace capstan::plugin_check
