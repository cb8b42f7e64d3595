// The conformance suite of media that are one after the other: rules 22 to 25 of plugin.h. For any
// drive with a plugin above it:
//
//   INSTANTIATE_TEST_SUITE_P(Emulated, TapeConformance, testing::Values(Emulated()), NameOfTape);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "agent/media_plugin.h"

namespace capstan::test {

// A drive with a blank cartridge in it, and a second one that LOAD can fetch; no third.
class TapePlace {
 public:
  virtual ~TapePlace() = default;
  virtual agent::MediaPlugin& plugin() = 0;
  virtual std::string target() = 0;
};

struct TapeUnderTest {
  std::string name;
  // Null if the place cannot be had here; *why says so, and the tests are skipped.
  std::function<std::unique_ptr<TapePlace>(std::string* why)> make_place;
  // Bytes that surely do not fit on a cartridge; 0 = too many to try.
  std::uint64_t too_many_bytes = 0;
};

inline std::string NameOfTape(const testing::TestParamInfo<TapeUnderTest>& info) {
  return info.param.name;
}

class TapeConformance : public testing::TestWithParam<TapeUnderTest> {
 protected:
  void SetUp() override;

  std::unique_ptr<agent::MediaDevice> Open(capstan_open_mode mode, const std::string& token = "t1");
  // A set: the bytes of `seed`, and a filemark.
  void WriteSet(agent::MediaDevice& device, unsigned seed);
  // Whether a set of that seed begins here.
  bool ReadsSet(agent::MediaDevice& device, unsigned seed);
  void Finish(agent::MediaDevice& device);
  std::int64_t Position(agent::MediaDevice& device);
  std::int64_t SetPosition(agent::MediaDevice& device, std::uint32_t whence, std::int64_t position);
  // The completion code.
  std::uint32_t Run(agent::MediaDevice& device, std::int32_t op, std::uint32_t size);

  std::unique_ptr<TapePlace> place_;
};

}  // namespace capstan::test
