// Every change of a contract must be meant: the descriptors are compared with what is checked in.
// To accept a change: CAPSTAN_UPDATE_GOLDEN=1 build/release/bin/proto_unit_test, then read the
// diff.

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "capstan/media/v1/descriptor.pb.h"
#include "capstan/v1/coordinator.pb.h"
#include "capstan/v1/requester.pb.h"

namespace capstan {
namespace {

void ExpectAsCheckedIn(const google::protobuf::FileDescriptor* file, const std::string& name) {
  const std::string path = std::string(CAPSTAN_GOLDEN_DIR) + "/" + name;
  const std::string now = file->DebugString();
  if (std::getenv("CAPSTAN_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path) << now;
  }
  std::ifstream stored(path);
  const std::string golden{std::istreambuf_iterator<char>(stored), {}};

  EXPECT_EQ(now, golden) << "in " << path;
}

TEST(Wire, RequesterIsAsCheckedIn) {
  ExpectAsCheckedIn(v1::ExecuteRequest::descriptor()->file(), "requester.txt");
}

TEST(Wire, CoordinatorIsAsCheckedIn) {
  ExpectAsCheckedIn(v1::AgentMessage::descriptor()->file(), "coordinator.txt");
}

TEST(Wire, MediaDescriptorIsAsCheckedIn) {
  ExpectAsCheckedIn(media::v1::BackupSetDescriptor::descriptor()->file(), "media_descriptor.txt");
}

}  // namespace
}  // namespace capstan
