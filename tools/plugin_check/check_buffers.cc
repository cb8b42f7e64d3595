// Clauses about memory that belongs to the agent: buffers and strings.
#include <cstring>
#include <string>
#include <vector>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {

// The page behind the buffer is forbidden: whoever reads too much ends the process.
void CheckReadStaysInside(Case& test) {
  Subject& plugin = test.plugin();
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), 1, 2);
  Device device = plugin.Open(CAPSTAN_OPEN_READ, test.Wish());
  // The upper half is read into; the lower must stay as it is.
  const std::uint32_t half = plugin.Aligned(4096);
  GuardedBuffer buffer(2 * std::size_t{half});
  buffer.Zero();
  Request& read = device.Submit(CAPSTAN_OP_READ, buffer.data() + half, half, 0);
  device.Expect(read);
  for (std::uint32_t index = 0; index < half; ++index) {
    if (buffer.data()[half - 1 - index] != 0) {
      Broken("byte {} in front of the buffer of {} was changed", index + 1, read.Describe());
    }
  }
  device.Close(CAPSTAN_OUTCOME_DONE);
}

void CheckWriteBufferUntouched(Case& test) {
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  GuardedBuffer buffer(kBlock);
  buffer.Fill(0, 1);
  buffer.ForbidWriting();  // from here on a write to it is a SIGSEGV
  device.Write(buffer, 0);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
}

void CheckBufferAfterCompletion(Case& test) {
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  std::vector<GuardedBuffer> buffers;
  for (std::uint64_t block = 0; block < 4; ++block) {
    buffers.emplace_back(kBlock).Fill(block * kBlock, 1);
    device.Write(buffers.back(), block * kBlock);
    buffers.back().ForbidTouching();  // from here on an access is a SIGSEGV
  }
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
  if (const auto difference = plugin.MediumDifference(test.Wish().target, 1, 4);
      !difference.empty()) {
    Broken("{}", difference);
  }
}

void CheckStringsAreCopied(Case& test) {
  Subject& plugin = test.plugin();
  const OpenWish wish = test.Wish();
  OpenWish lent = wish;
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, lent);
  std::memset(lent.target.data(), 'X', lent.target.size());
  std::memset(lent.token.data(), 'X', lent.token.size());
  plugin.WriteBlocks(device, 1, 1);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
  if (const auto difference = plugin.MediumDifference(wish.target, 1); !difference.empty()) {
    Broken("the medium is not the one that was named: {}", difference);
  }
}

// Whether such a name can be had is the medium's matter; that nothing breaks is not.
void CheckOddNames(Case& test) {
  Subject& plugin = test.plugin();
  const std::string base = test.Wish().target;
  const std::string names[] = {"",
                               base + std::string(300, 'n'),
                               base + std::string(20'000, 'n'),
                               base + " with spaces, 'quotes' and \"more\"",
                               base + "%s%n%d",
                               base + "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x92\xBE",
                               base + "\xFF\xFE"};
  for (const std::string& name : names) {
    capstan_device* raw = nullptr;
    capstan_error error{};
    if (plugin.TryOpen(CAPSTAN_OPEN_CREATE, {.target = name}, &raw, &error) == 0) {
      Device device(plugin, raw);
      device.Close(CAPSTAN_OUTCOME_DISCARD);
    } else if (error.message[0] == '\0') {
      Broken("open refused a name of {} bytes without a message", name.size());
    }
  }
}

}  // namespace capstan::plugin_check
