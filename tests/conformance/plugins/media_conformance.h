// The conformance suite of media plugins: what plugin.h promises, as tests. A plugin's test program
// links media_conformance.cc, append_conformance.cc and resume_conformance.cc and instantiates
// them; clauses about what the plugin does not announce (CAPSTAN_CAN_APPEND, CAPSTAN_CAN_UNDO,
// CAPSTAN_CAN_RESUME, random access) are skipped:
//
//   INSTANTIATE_TEST_SUITE_P(Disk, MediaConformance, testing::Values(DiskUnderTest()), NameOf);
//   INSTANTIATE_TEST_SUITE_P(Disk, AppendConformance, testing::Values(DiskUnderTest()), NameOf);
//   INSTANTIATE_TEST_SUITE_P(Disk, ResumeConformance, testing::Values(DiskUnderTest()), NameOf);
//
// Media that are one after the other have tape_conformance.h besides.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "agent/media_plugin.h"

namespace capstan::test {

// A place with no media in it, for one test.
class MediaPlace {
 public:
  virtual ~MediaPlace() = default;
  virtual agent::MediaPlugin& plugin() = 0;
  virtual std::string TargetOf(const std::string& name) = 0;
  // Things that the plugin keeps besides finished media: partial files and the like.
  virtual std::size_t LeftOverCount() = 0;
};

struct MediaUnderTest {
  std::string name;
  // Null if the place cannot be had here; *why says so, and the tests are skipped.
  std::function<std::unique_ptr<MediaPlace>(std::string* why)> make_place;
  std::string mode;  // regular expression for MediaDevice::mode after the first transfer
};

// Otherwise the bytes of the struct are in the names of the tests.
inline void PrintTo(const MediaUnderTest& media, std::ostream* out) {
  *out << media.name;
}
inline std::string NameOf(const testing::TestParamInfo<MediaUnderTest>& info) {
  return info.param.name;
}

class MediaConformance : public testing::TestWithParam<MediaUnderTest> {
 protected:
  void SetUp() override;

  agent::MediaPlugin& plugin() { return place_->plugin(); }
  std::string target() { return place_->TargetOf("medium.bak"); }
  bool can(std::uint32_t capability) { return (plugin().info().capabilities & capability) != 0; }
  bool random_access() {
    return (plugin().info().device_features & CAPSTAN_FEATURE_RANDOM_ACCESS) != 0;
  }
  std::unique_ptr<agent::MediaDevice> Open(capstan_open_mode mode, const std::string& token = "t1");
  // A finished medium of one 64 KiB block, made from `seed`.
  void MakeMedium(unsigned seed);
  // Whether the medium is exactly what MakeMedium(seed) writes.
  bool HoldsMedium(unsigned seed) { return HoldsMedia({seed}); }
  void ExpectSizeOfOneBlock(const agent::MediumStat& stat);
  // Whether it is exactly that of several, one behind the other.
  bool HoldsMedia(const std::vector<unsigned>& seeds);

  std::unique_ptr<MediaPlace> place_;
};

class AppendConformance : public MediaConformance {
 protected:
  void SetUp() override;

  // Writes what MakeMedium(seed) writes behind the end of the medium; the device is still open.
  std::unique_ptr<agent::MediaDevice> Append(unsigned seed, const std::string& token);
  std::uint64_t Size();                          // what stat says
  Status AppendError(const std::string& token);  // why the medium cannot be appended to
};

class ResumeConformance : public MediaConformance {
 protected:
  void SetUp() override;

  // A new medium of one 64 KiB block for each seed, kept after a flush.
  void Keep(const std::vector<unsigned>& seeds, const std::string& token = "t-keep");
  Result<std::unique_ptr<agent::MediaDevice>> TryResume(
      const std::string& token = "t-keep", capstan_open_mode mode = CAPSTAN_OPEN_CREATE);
  std::unique_ptr<agent::MediaDevice> Resume(const std::string& token = "t-keep");
  static void WriteBlock(agent::MediaDevice& device, std::size_t block, unsigned seed);
  // Whether the device reads exactly those blocks, and says that it ends behind them.
  static bool Reads(agent::MediaDevice& device, const std::vector<unsigned>& seeds);
};

}  // namespace capstan::test
