// Clauses about media as others see them: names, sizes, who may write.
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/text.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

constexpr std::int64_t kClockSlack = 3600;  // seconds; servers' clocks differ

void ExpectErrno(int result, const capstan_error& error, int expected, std::string_view what) {
  if (result == 0) {
    Broken("{} succeeded, expected {}", what, ::strerrorname_np(expected));
  }
  if (error.os_error != expected) {
    Broken("{} failed with {}, expected {}", what, MessageOf(error), ::strerrorname_np(expected));
  }
}

void ExpectMessage(const capstan_error& error, std::string_view what) {
  const std::size_t length = ::strnlen(error.message, sizeof(error.message));
  if (length == 0) {
    Broken("{} failed without a message", what);
  }
  if (length == sizeof(error.message) ||
      ::strnlen(error.hint, sizeof(error.hint)) == sizeof(error.hint)) {
    Broken("{} failed with a text that does not end within its field", what);
  }
  if (!IsUtf8({error.message, length})) {
    Broken("{} failed with a message that is not plain UTF-8", what);
  }
}

int TryOpenAndClose(Subject& plugin, capstan_open_mode mode, const OpenWish& wish,
                    capstan_error* error) {
  capstan_device* raw = nullptr;
  const int result = plugin.TryOpen(mode, wish, &raw, error);
  if (result == 0) {
    Device(plugin, raw)
        .Close(mode == CAPSTAN_OPEN_READ ? CAPSTAN_OUTCOME_DONE : CAPSTAN_OUTCOME_DISCARD);
  }
  return result;
}

}  // namespace

void CheckMissingMedium(Case& test) {
  Subject& plugin = test.plugin();
  const OpenWish wish = test.Wish();
  capstan_error error{};
  ExpectErrno(TryOpenAndClose(plugin, CAPSTAN_OPEN_READ, wish, &error), error, ENOENT,
              "open(READ) of a missing medium");
  if (plugin.Stat(wish.target).exists != 0) {
    Broken("stat says that a medium is there which was never written");
  }
  if (plugin.Can(CAPSTAN_CAN_REMOVE)) {
    error = {};
    ExpectErrno(plugin.TryRemove(wish.target, &error), error, ENOENT,
                "remove() of a missing medium");
  }
  if (plugin.Can(CAPSTAN_CAN_APPEND)) {
    error = {};
    ExpectErrno(TryOpenAndClose(plugin, CAPSTAN_OPEN_APPEND, wish, &error), error, ENOENT,
                "open(APPEND) of a missing medium");
  }
}

void CheckTakenName(Case& test) {
  Subject& plugin = test.plugin();
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), 1);
  capstan_error error{};
  OpenWish second = test.Wish();
  second.token = "check-2";
  ExpectErrno(TryOpenAndClose(plugin, CAPSTAN_OPEN_CREATE, second, &error), error, EEXIST,
              "open(CREATE) of a name that is taken");
  if (const auto difference = plugin.MediumDifference(test.Wish().target, 1); !difference.empty()) {
    Broken("the refused open changed the medium: {}", difference);
  }
}

void CheckFailuresSpeak(Case& test) {
  Subject& plugin = test.plugin();
  capstan_error error{};
  if (!test.sequential()) {
    if (TryOpenAndClose(plugin, CAPSTAN_OPEN_READ, test.Wish("-missing"), &error) != 0) {
      ExpectMessage(error, "open(READ) of a missing medium");
    }
    error = {};
    if (plugin.Can(CAPSTAN_CAN_REMOVE) &&
        plugin.TryRemove(test.Wish("-missing").target, &error) != 0) {
      ExpectMessage(error, "remove() of a missing medium");
    }
    error = {};
    const OpenWish longest{.target = test.Wish().target + std::string(2000, 'n')};
    if (TryOpenAndClose(plugin, CAPSTAN_OPEN_READ, longest, &error) != 0) {
      ExpectMessage(error, "open(READ) of a medium with a name of 2000 bytes");
    }
  }
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), 1);
  Device device = plugin.Open(CAPSTAN_OPEN_READ, test.Wish());
  GuardedBuffer buffer(kBlock);
  Request& write = device.StartWrite(buffer, 0);
  if (device.CodeOf(write) == CAPSTAN_E_OK) {
    Broken("a device that was opened to read takes a WRITE");
  }
  ExpectMessage(write.accepted ? write.seen.error : write.refusal, "a WRITE on a reading device");
  device.Run(CAPSTAN_OP_CLEAR_ERROR);
  device.Close(CAPSTAN_OUTCOME_DONE);
}

void CheckSecondWriter(Case& test) {
  Subject& plugin = test.plugin();
  Device first = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  OpenWish second = test.Wish();
  second.token = "check-2";
  capstan_error error{};
  ExpectErrno(TryOpenAndClose(plugin, CAPSTAN_OPEN_REPLACE, second, &error), error, EBUSY,
              "open(REPLACE) of a medium that is being written");
  plugin.WriteBlocks(first, 1, 1);
  first.Run(CAPSTAN_OP_FLUSH);
  first.Run(CAPSTAN_OP_COMPLETE);
  first.Close(CAPSTAN_OUTCOME_DONE);
  if (const auto difference = plugin.MediumDifference(test.Wish().target, 1); !difference.empty()) {
    Broken("the refused writer changed the medium: {}", difference);
  }
}

void CheckUnfinishedIsHidden(Case& test) {
  Subject& plugin = test.plugin();
  const OpenWish wish = test.Wish();
  Device device = plugin.Open(CAPSTAN_OPEN_CREATE, wish);
  plugin.WriteBlocks(device, 1, 1);
  device.Run(CAPSTAN_OP_FLUSH);
  if (plugin.Stat(wish.target).exists != 0) {
    Broken("stat sees the medium before COMPLETE");
  }
  capstan_error error{};
  if (TryOpenAndClose(plugin, CAPSTAN_OPEN_READ, wish, &error) == 0) {
    Broken("the medium can be read before COMPLETE");
  }
  device.Run(CAPSTAN_OP_COMPLETE);
  if (plugin.Stat(wish.target).exists == 0) {
    Broken("stat does not see the medium after COMPLETE");
  }
  device.Close(CAPSTAN_OUTCOME_DONE);
}

void CheckReplaceKeepsOld(Case& test) {
  Subject& plugin = test.plugin();
  const OpenWish wish = test.Wish();
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, wish, 1);
  OpenWish second = wish;
  second.token = "check-2";
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, second);
  plugin.WriteBlocks(device, 2, 2);
  device.Run(CAPSTAN_OP_FLUSH);
  if (const auto difference = plugin.MediumDifference(wish.target, 1); !difference.empty()) {
    Broken("before COMPLETE: {}", difference);
  }
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
  if (const auto difference = plugin.MediumDifference(wish.target, 2, 2); !difference.empty()) {
    Broken("after COMPLETE: {}", difference);
  }
}

void CheckStatAndRemove(Case& test) {
  Subject& plugin = test.plugin();
  const OpenWish wish = test.Wish();
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, wish, 1, 2);
  const capstan_stat_result stat = plugin.Stat(wish.target);
  if (stat.exists != 1 || stat.size != 2 * kBlock) {
    Broken("of a medium of {} bytes stat says exists {}, size {}", 2 * kBlock, stat.exists,
           stat.size);
  }
  const std::int64_t age = std::time(nullptr) - stat.modified_unix_s;
  if (stat.modified_unix_s != 0 && (age > kClockSlack || age < -kClockSlack)) {
    Broken("the medium was written just now, and stat says {} s ago", age);
  }
  if (stat.free_space == 0) {
    Broken("stat says that there is no space left; UINT64_MAX means unknown");
  }
  capstan_error error{};
  if (plugin.TryRemove(wish.target, &error) != 0) {
    Broken("remove() failed: {}", MessageOf(error));
  }
  if (plugin.Stat(wish.target).exists != 0) {
    Broken("the medium is there after remove()");
  }
}

}  // namespace capstan::plugin_check
