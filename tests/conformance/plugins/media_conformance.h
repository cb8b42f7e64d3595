// The conformance suite of media plugins: what plugin.h promises, as tests. A plugin's test program
// links media_conformance.cc and append_conformance.cc (whose clauses are skipped for a plugin that
// does not announce CAPSTAN_CAN_APPEND) and instantiates them:
//
//   INSTANTIATE_TEST_SUITE_P(Disk, MediaConformance, testing::Values(DiskUnderTest()), NameOf);
//   INSTANTIATE_TEST_SUITE_P(Disk, AppendConformance, testing::Values(DiskUnderTest()), NameOf);
#pragma once

#include <functional>
#include <memory>
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

inline std::string NameOf(const testing::TestParamInfo<MediaUnderTest>& info) {
  return info.param.name;
}

class MediaConformance : public testing::TestWithParam<MediaUnderTest> {
 protected:
  void SetUp() override;

  agent::MediaPlugin& plugin() { return place_->plugin(); }
  std::string target() { return place_->TargetOf("medium.bak"); }
  std::unique_ptr<agent::MediaDevice> Open(capstan_open_mode mode, const std::string& token = "t1");
  // A finished medium of one 64 KiB block, made from `seed`.
  void MakeMedium(unsigned seed);
  // Whether the medium is exactly what MakeMedium(seed) writes.
  bool HoldsMedium(unsigned seed) { return HoldsMedia({seed}); }
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

}  // namespace capstan::test
