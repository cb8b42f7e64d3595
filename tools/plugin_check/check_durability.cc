// Clauses about what survives: kills, other processes, and as far as it can be seen the page cache.
#include <cstring>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/surroundings.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

constexpr int kBlocks = 8;

void ExpectMedium(Subject& plugin, const OpenWish& wish, unsigned seed, int blocks) {
  if (const auto difference = plugin.MediumDifference(wish.target, seed, blocks);
      !difference.empty()) {
    Broken("{}", difference);
  }
}

void ExpectRecovered(Subject& plugin, const OpenWish& wish, capstan_recover_action action) {
  const char* const name = action == CAPSTAN_RECOVER_COMMIT ? "COMMIT" : "DISCARD";
  for (const char* const time : {"", " the second time"}) {
    capstan_error error{};
    if (plugin.TryRecover(wish, action, &error) != 0) {
      Broken("recover({}) failed{}: {}", name, time, MessageOf(error));
    }
  }
}

OpenWish Second(const Case& test) {
  OpenWish wish = test.Wish();
  wish.token = "check-2";
  return wish;
}

void ExpectOnDisk(const Case& test, std::string_view after) {
  std::string why;
  const auto unwritten = UnwrittenBelow(test.setup().files, &why);
  if (!unwritten) {
    Skip("{}", why);
  }
  if (unwritten->bytes > 0) {
    Broken("after {} {} bytes of files are in the page cache only, for example of '{}'", after,
           unwritten->bytes, unwritten->file);
  }
}

void RequireFiles(const Case& test) {
  if (test.setup().files.empty()) {
    Skip("no folder is known in which the plugin keeps files; --files names one");
  }
}

}  // namespace

void CheckFlushedSurvives(Case& test) {
  test.Dying([&](Subject& plugin) {
    Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
    plugin.WriteBlocks(device, 1, kBlocks);
    device.Run(CAPSTAN_OP_FLUSH);
  });
  test.In([&](Subject& plugin) {
    ExpectRecovered(plugin, test.Wish(), CAPSTAN_RECOVER_COMMIT);
    ExpectMedium(plugin, test.Wish(), 1, kBlocks);
  });
}

void CheckCompletedSurvives(Case& test) {
  test.Dying([&](Subject& plugin) {
    Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
    plugin.WriteBlocks(device, 1, kBlocks);
    device.Run(CAPSTAN_OP_FLUSH);
    device.Run(CAPSTAN_OP_COMPLETE);
  });
  test.In([&](Subject& plugin) { ExpectMedium(plugin, test.Wish(), 1, kBlocks); });
}

// Killing a process loses nothing of the page cache; a power cut does. So the kernel is asked what
// it has not written yet.
void CheckFlushReachesDisk(Case& test) {
  RequireFiles(test);
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  plugin.WriteBlocks(device, 1, kBlocks);
  device.Run(CAPSTAN_OP_FLUSH);
  ExpectOnDisk(test, "FLUSH");
  device.Close(CAPSTAN_OUTCOME_DISCARD);
}

void CheckCompleteReachesDisk(Case& test) {
  RequireFiles(test);
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  plugin.WriteBlocks(device, 1, kBlocks);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  ExpectOnDisk(test, "COMPLETE");
  device.Close(CAPSTAN_OUTCOME_DONE);
}

void CheckKeptIsCommitted(Case& test) {
  test.In([&](Subject& plugin) {
    Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
    plugin.WriteBlocks(device, 1, kBlocks);
    device.Run(CAPSTAN_OP_FLUSH);
    device.Close(CAPSTAN_OUTCOME_KEEP);
  });
  test.In([&](Subject& plugin) {
    ExpectRecovered(plugin, test.Wish(), CAPSTAN_RECOVER_COMMIT);
    ExpectMedium(plugin, test.Wish(), 1, kBlocks);
  });
}

void CheckKeptIsDiscarded(Case& test) {
  test.In([&](Subject& plugin) {
    plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), 1);
    Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, Second(test));
    plugin.WriteBlocks(device, 2, kBlocks);
    device.Run(CAPSTAN_OP_FLUSH);
    device.Close(CAPSTAN_OUTCOME_KEEP);
  });
  test.In([&](Subject& plugin) {
    ExpectRecovered(plugin, Second(test), CAPSTAN_RECOVER_DISCARD);
    ExpectMedium(plugin, test.Wish(), 1, 1);
    capstan_error error{};
    if (plugin.TryRecover(Second(test), CAPSTAN_RECOVER_COMMIT, &error) == 0) {
      Broken("recover(COMMIT) finds something after recover(DISCARD)");
    }
  });
}

void CheckRecoverOfNothing(Case& test) {
  Subject& plugin = test.plugin();
  OpenWish wish = test.Wish();
  wish.token = "check-none";
  capstan_error error{};
  if (plugin.TryRecover(wish, CAPSTAN_RECOVER_COMMIT, &error) == 0) {
    Broken("recover(COMMIT) of a token that began nothing succeeded");
  }
  if (error.message[0] == '\0') {
    Broken("recover(COMMIT) failed without a message");
  }
  ExpectRecovered(plugin, wish, CAPSTAN_RECOVER_DISCARD);
}

}  // namespace capstan::plugin_check
