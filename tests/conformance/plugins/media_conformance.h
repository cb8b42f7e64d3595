// The conformance suite of media plugins: what plugin.h promises, as tests. A plugin's test program
// links media_conformance.cc and instantiates it:
//
//   INSTANTIATE_TEST_SUITE_P(Disk, MediaConformance, testing::Values(DiskUnderTest()), NameOf);
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
  bool HoldsMedium(unsigned seed);

  std::unique_ptr<MediaPlace> place_;
};

}  // namespace capstan::test
