// Clauses about requests: how often they end, when, with how much, and where bytes land.
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {
namespace {

constexpr int kInFlight = 16;  // what TryOpen announces as queue_depth_max
constexpr std::uint64_t kFar = 5ULL << 30;
// A second completion comes soon after the first, if it comes.
constexpr std::chrono::milliseconds kSecondThoughts{100};

void FinishMedium(Device& device) {
  device.Run(CAPSTAN_OP_FLUSH);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
}

// Reads `buffer.size()` bytes and compares; returns the difference.
std::string ReadDifference(Device& device, std::uint64_t position, std::uint32_t size,
                           unsigned seed) {
  GuardedBuffer buffer(size);
  Request& read = device.StartRead(buffer, position);
  device.Expect(read);
  if (read.seen.bytes_transferred != size) {
    return fmt::format("{} moved {} bytes", read.Describe(), read.seen.bytes_transferred);
  }
  return buffer.Difference(position, seed, size);
}

// Rule 13 leaves it to the plugin whether a medium may have holes.
void SkipIfRefused(Device& device, Request& request) {
  if (device.CodeOf(request) == CAPSTAN_E_OK) {
    return;
  }
  device.Close(CAPSTAN_OUTCOME_DISCARD);
  Skip("the medium takes no holes ({}); --large writes all of it",
       MessageOf(request.accepted ? request.seen.error : request.refusal));
}

}  // namespace

void CheckCompletesOnce(Case& test) {
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  GuardedBuffer buffer(kBlock);
  buffer.Fill(0, 1);
  std::vector<Request*> requests;
  const auto run = [&](Request& request) {
    if (request.accepted && !device.WaitFor(request)) {
      Broken("{} was never completed", request.Describe());
    }
    requests.push_back(&request);
  };
  run(device.StartWrite(buffer, 0));
  run(device.Submit(CAPSTAN_OP_FLUSH, nullptr, 0, 0));
  run(device.StartWrite(buffer, kBlock));
  run(device.Submit(CAPSTAN_OP_FLUSH, nullptr, 0, 0));
  run(device.Submit(CAPSTAN_OP_FLUSH, nullptr, 0, 0));
  run(device.Submit(CAPSTAN_OP_COMPLETE, nullptr, 0, 0));
  device.Close(CAPSTAN_OUTCOME_DONE);
  Device reader = plugin.Open(CAPSTAN_OPEN_READ, test.Wish());
  run(reader.StartRead(buffer, 0));
  run(reader.StartWrite(buffer, 0));  // a reader does not write
  run(reader.Submit(CAPSTAN_OP_CLEAR_ERROR, nullptr, 0, 0));
  reader.Close(CAPSTAN_OUTCOME_DONE);
  std::this_thread::sleep_for(kSecondThoughts);
  for (const Request* request : requests) {
    const int expected = request->accepted ? 1 : 0;
    if (request->completions != expected) {
      Broken("{}, which was {}, was completed {} times", request->Describe(),
             request->accepted ? "accepted" : "refused", request->completions.load());
    }
  }
}

void CheckCompletesInTime(Case& test) {
  Device device = test.plugin().Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  std::vector<GuardedBuffer> buffers;
  std::vector<Request*> requests;
  for (std::uint64_t index = 0; index < kInFlight; ++index) {
    buffers.emplace_back(kBlock).Fill(index * kBlock, 1);
    const auto begin = std::chrono::steady_clock::now();
    requests.push_back(&device.StartWrite(buffers.back(), index * kBlock));
    const auto taken = std::chrono::steady_clock::now() - begin;
    if (taken > test.setup().patience) {
      Broken("submit of {} returned after {} ms", requests.back()->Describe(),
             std::chrono::duration_cast<std::chrono::milliseconds>(taken).count());
    }
  }
  for (Request* request : requests) {
    if (!request->accepted) {
      Broken("{} was refused with fewer than queue_depth_max in flight: {}", request->Describe(),
             MessageOf(request->refusal));
    }
    if (!device.WaitFor(*request)) {
      Broken("{} was not completed within {} ms", request->Describe(),
             test.setup().patience.count());
    }
  }
  FinishMedium(device);
}

void CheckWholeTransfers(Case& test) {
  constexpr std::array<std::uint32_t, 5> kSizes = {4096, 512, 65536 + 1536, 1U << 20, 4U << 20};
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  std::uint64_t position = 0;
  for (const std::uint32_t wanted : kSizes) {
    const std::uint32_t size = plugin.Aligned(wanted);
    GuardedBuffer buffer(size);
    buffer.Fill(position, 1);
    Request& write = device.StartWrite(buffer, position);
    device.Expect(write);
    if (write.seen.bytes_transferred != size) {
      Broken("{} is complete with {} bytes", write.Describe(), write.seen.bytes_transferred);
    }
    position += size;
  }
  FinishMedium(device);
  Device reader = plugin.Open(CAPSTAN_OPEN_READ, test.Wish());
  std::uint64_t from = 0;
  for (const std::uint32_t wanted : kSizes) {
    const std::uint32_t size = plugin.Aligned(wanted);
    GuardedBuffer buffer(size);
    Request& read = reader.StartRead(buffer, from);
    const std::uint32_t code = reader.CodeOf(read);
    if (code != 0 || read.seen.bytes_transferred != size) {
      Broken("{} ended with {} and {} bytes after WRITEs that moved all", read.Describe(), code,
             read.seen.bytes_transferred);
    }
    if (const std::string difference = buffer.Difference(from, 1, size); !difference.empty()) {
      Broken("{}", difference);
    }
    from += size;
  }
  reader.Close(CAPSTAN_OUTCOME_DONE);
  if (!test.sequential() && plugin.Stat(test.Wish().target).size != position) {
    Broken("{} bytes were written, and stat says {}", position,
           plugin.Stat(test.Wish().target).size);
  }
}

void CheckEndOfMedium(Case& test) {
  Subject& plugin = test.plugin();
  plugin.MakeMedium(CAPSTAN_OPEN_REPLACE, test.Wish(), 1);
  Device device = plugin.Open(CAPSTAN_OPEN_READ, test.Wish());
  // Half of what is asked for is there.
  const std::uint32_t there = plugin.Aligned(4096);
  GuardedBuffer across(2 * std::size_t{there});
  Request& read = device.StartRead(across, kBlock - there);
  if (device.CodeOf(read) != CAPSTAN_E_END || read.seen.bytes_transferred != there) {
    Broken("{}, of which {} are there, ended with {} and {} bytes", read.Describe(), there,
           read.seen.completion_code, read.seen.bytes_transferred);
  }
  if (const auto difference = across.Difference(kBlock - there, 1, there); !difference.empty()) {
    Broken("{}", difference);
  }
  Request& beyond = device.StartRead(across, 4 * kBlock);
  if (device.CodeOf(beyond) != CAPSTAN_E_END || beyond.seen.bytes_transferred != 0) {
    Broken("{}, behind the end, ended with {} and {} bytes", beyond.Describe(),
           beyond.seen.completion_code, beyond.seen.bytes_transferred);
  }
  device.Run(CAPSTAN_OP_CLEAR_ERROR);
  if (const auto difference = ReadDifference(device, 0, kBlock, 1); !difference.empty()) {
    Broken("after the end was met: {}", difference);
  }
  device.Close(CAPSTAN_OUTCOME_DONE);
}

void CheckScatteredWrites(Case& test) {
  constexpr std::array<std::uint64_t, 8> kOrder = {3, 0, 7, 1, 6, 2, 5, 4};
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  std::vector<GuardedBuffer> buffers;
  std::vector<Request*> requests;
  for (const std::uint64_t block : kOrder) {
    buffers.emplace_back(kBlock).Fill(block * kBlock, 1);
    requests.push_back(&device.StartWrite(buffers.back(), block * kBlock));
  }
  for (Request* request : requests) {
    device.Expect(*request);
  }
  FinishMedium(device);
  const auto difference =
      plugin.MediumDifference(test.Wish().target, 1, static_cast<int>(kOrder.size()));
  if (!difference.empty()) {
    Broken("{}", difference);
  }
}

void CheckOrderOfSubmit(Case& test) {
  Subject& plugin = test.plugin();
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, test.Wish());
  std::vector<GuardedBuffer> buffers;
  std::vector<Request*> requests;
  for (std::uint64_t block = 0; block < kInFlight; ++block) {
    buffers.emplace_back(kBlock).Fill(block * kBlock, 1);
    requests.push_back(&device.StartWrite(buffers.back(), 0));  // a position means nothing here
  }
  for (Request* request : requests) {
    device.Expect(*request);
  }
  FinishMedium(device);
  const auto difference = plugin.MediumDifference(test.Wish().target, 1, kInFlight);
  if (!difference.empty()) {
    Broken("{}", difference);
  }
}

void CheckFarPosition(Case& test) {
  Subject& plugin = test.plugin();
  const OpenWish wish = test.Wish();
  const std::uint64_t step = test.setup().large ? 4U << 20 : kFar;
  const std::uint64_t space = plugin.Stat(wish.target).free_space;
  if (space == UINT64_MAX && !test.setup().large) {
    Skip(
        "how much space there is is unknown, and a hole may be paid for; --large writes all of it");
  }
  if (space < (test.setup().large ? kFar : 0) + (64U << 20)) {
    Skip("there is not enough space");
  }
  Device device = plugin.Open(CAPSTAN_OPEN_REPLACE, wish);
  const std::uint32_t size = test.setup().large ? 4U << 20 : kBlock;
  for (std::uint64_t position = 0; position <= kFar; position += step) {
    GuardedBuffer buffer(size);
    buffer.Fill(position, 1);
    Request& write = device.StartWrite(buffer, position);
    if (position == step && step == kFar) {
      SkipIfRefused(device, write);
    }
    device.Expect(write);
  }
  Request& flush = device.Submit(CAPSTAN_OP_FLUSH, nullptr, 0, 0);
  if (step == kFar) {
    SkipIfRefused(device, flush);
  }
  device.Expect(flush);
  device.Run(CAPSTAN_OP_COMPLETE);
  device.Close(CAPSTAN_OUTCOME_DONE);
  if (plugin.Stat(wish.target).size != kFar + size) {
    Broken("the medium ends at {}, and stat says {}", kFar + size, plugin.Stat(wish.target).size);
  }
  Device reader = plugin.Open(CAPSTAN_OPEN_READ, wish);
  for (const std::uint64_t position : {std::uint64_t{0}, kFar}) {
    if (const auto difference = ReadDifference(reader, position, kBlock, 1); !difference.empty()) {
      Broken("{}", difference);
    }
  }
  reader.Close(CAPSTAN_OUTCOME_DONE);
}

}  // namespace capstan::plugin_check
