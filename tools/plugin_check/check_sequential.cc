// Clauses about media with filemarks.
#include <string_view>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

// READs until something else than data comes: the bytes in front of it, all compared, and its code.
struct Stretch {
  std::uint64_t bytes = 0;
  std::uint32_t code = 0;
};

Stretch ReadStretch(Device& device, unsigned seed, std::uint64_t from) {
  constexpr std::uint64_t kMax = 1ULL << 30;
  Stretch stretch;
  while (stretch.code == CAPSTAN_E_OK && stretch.bytes < kMax) {
    GuardedBuffer buffer(kBlock);
    Request& read = device.StartRead(buffer, 0);
    stretch.code = device.CodeOf(read);
    if (const auto difference =
            buffer.Difference(from + stretch.bytes, seed, read.seen.bytes_transferred);
        !difference.empty()) {
      Broken("{}", difference);
    }
    stretch.bytes += read.seen.bytes_transferred;
  }
  device.Run(CAPSTAN_OP_CLEAR_ERROR);
  return stretch;
}

void ExpectStretch(Device& device, unsigned seed, std::uint64_t from, std::uint64_t bytes,
                   bool mark_follows) {
  const Stretch stretch = ReadStretch(device, seed, from);
  if (stretch.bytes != bytes) {
    Broken("{} bytes were written there and {} are read", bytes, stretch.bytes);
  }
  if (mark_follows && stretch.code != CAPSTAN_E_FILE_MARK) {
    Broken("a READ at a filemark ended with {}, expected {}", stretch.code, CAPSTAN_E_FILE_MARK);
  }
  if (!mark_follows && stretch.code != CAPSTAN_E_NO_DATA && stretch.code != CAPSTAN_E_END &&
      stretch.code != CAPSTAN_E_FILE_MARK) {
    Broken("a READ at the end of data ended with {}", stretch.code);
  }
}

std::int64_t PositionOf(Device& device) {
  Request& request = device.Submit(CAPSTAN_OP_GET_POSITION, nullptr, 0, 0);
  device.Expect(request);
  return request.seen.out_position;
}

// Two stretches of two blocks, a filemark behind each. Where the second begins.
std::int64_t WriteTwoStretches(Subject& plugin, const OpenWish& wish) {
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, wish);
  plugin.WriteBlocks(device, 1, 2);
  device.Run(CAPSTAN_OP_WRITE_MARK);
  const std::int64_t second = plugin.Has(CAPSTAN_FEATURE_POSITION) ? PositionOf(device) : 0;
  plugin.WriteBlocks(device, 1, 2, 2 * kBlock);
  device.Run(CAPSTAN_OP_WRITE_MARK);
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
  return second;
}

}  // namespace

void CheckFileMarks(Case& test) {
  Subject& plugin = test.plugin();
  WriteTwoStretches(plugin, test.Wish());
  Device device = plugin.Open(CAPSTAN_OPEN_READ, test.Wish());
  ExpectStretch(device, 1, 0, 2 * kBlock, true);
  ExpectStretch(device, 1, 2 * kBlock, 2 * kBlock, true);
  if (plugin.Has(CAPSTAN_FEATURE_REWIND)) {
    device.Run(CAPSTAN_OP_REWIND);
    device.Expect(device.Submit(CAPSTAN_OP_SKIP_MARKS, nullptr, 1, 0));
    ExpectStretch(device, 1, 2 * kBlock, 2 * kBlock, true);
  }
  device.Close(CAPSTAN_OUTCOME_DONE);
}

void CheckMediumPositions(Case& test) {
  Subject& plugin = test.plugin();
  const std::int64_t second = WriteTwoStretches(plugin, test.Wish());
  Device device = plugin.Open(CAPSTAN_OPEN_READ, test.Wish());
  Request& go = device.Submit(CAPSTAN_OP_SET_POSITION, nullptr, 0, second);
  device.Expect(go);
  if (go.seen.out_position != second || PositionOf(device) != second) {
    Broken("SET_POSITION to {} says {}, GET_POSITION then {}", second, go.seen.out_position,
           PositionOf(device));
  }
  ExpectStretch(device, 1, 2 * kBlock, 2 * kBlock, true);
  device.Close(CAPSTAN_OUTCOME_DONE);
}

void CheckWritingEnds(Case& test) {
  Subject& plugin = test.plugin();
  WriteTwoStretches(plugin, test.Wish());
  OpenWish again = test.Wish();
  again.token = "check-2";
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, again, 2, 1);
  Device device = plugin.Open(CAPSTAN_OPEN_READ, test.Wish());
  ExpectStretch(device, 2, 0, kBlock, false);
  const Stretch behind = ReadStretch(device, 2, kBlock);
  if (behind.bytes != 0) {
    Broken("{} bytes of the old contents are read behind the new end", behind.bytes);
  }
  device.Close(CAPSTAN_OUTCOME_DONE);
}

}  // namespace capstan::plugin_check
