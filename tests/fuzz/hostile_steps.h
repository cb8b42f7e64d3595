// How the segment fuzzers read their input: a script of fixed steps, so that a mutation changes one
// act and leaves the others alone.
//
//   0    4 bytes   set-up: what they mean, each fuzzer says
//   4    8 bytes   step, and so on; what is left over at the end is none
//
// A step:
//   0    u8    act, modulo the number of acts
//   1    u8    which device, or which variant of the act
//   2    u16   where: an offset, an index, a length
//   4    u32   value
// Numbers are little endian.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace capstan::fuzz {

inline constexpr std::size_t kSetupSize = 4;
inline constexpr std::size_t kStepsMax = 96;  // an input must end soon

struct Step {
  std::uint8_t act = 0;
  std::uint8_t which = 0;
  std::uint16_t where = 0;
  std::uint32_t value = 0;

  // Sign-extended: small numbers, and the giants from which counts and offsets overflow.
  std::uint64_t wide() const {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(value)));
  }
  // `where` as a small distance around zero.
  std::uint64_t distance() const {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int16_t>(where)));
  }
};
static_assert(sizeof(Step) == 8);

struct Script {
  std::array<std::uint8_t, kSetupSize> setup{};
  std::vector<Step> steps;

  static Script Read(std::span<const std::uint8_t> input) {
    Script script;
    if (input.size() < kSetupSize) {
      return script;
    }
    std::memcpy(script.setup.data(), input.data(), kSetupSize);
    input = input.subspan(kSetupSize);
    while (input.size() >= sizeof(Step) && script.steps.size() < kStepsMax) {
      Step& step = script.steps.emplace_back();
      std::memcpy(&step, input.data(), sizeof(step));
      input = input.subspan(sizeof(step));
    }
    return script;
  }

  std::vector<std::uint8_t> Write() const {
    std::vector<std::uint8_t> bytes(setup.begin(), setup.end());
    for (const Step& step : steps) {
      const auto* raw = reinterpret_cast<const std::uint8_t*>(&step);
      bytes.insert(bytes.end(), raw, raw + sizeof(step));
    }
    return bytes;
  }
};

}  // namespace capstan::fuzz
