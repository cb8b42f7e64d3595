// The S3 plugin passes the suite that every plugin passes, in buckets of all kinds.
#include <cstdlib>

#include "tests/conformance/s3/s3_place.h"

namespace capstan::test {
namespace {

// Real servers of tests have the first bucket alone.
MediaUnderTest In(const std::string& bucket) {
  return {.name = bucket,
          .make_place = [bucket](std::string* why) -> std::unique_ptr<MediaPlace> {
            const bool of_memory = std::getenv("CAPSTAN_S3_TEST_PORT") != nullptr;
            if (std::getenv("CAPSTAN_S3_CONFIG") == nullptr || (bucket != "media" && !of_memory)) {
              *why = "run me with tests/support/s3/memory_server.py";
              return nullptr;
            }
            return std::make_unique<S3Place>(bucket);
          },
          .mode = "multipart upload"};
}

const auto kBuckets = testing::Values(In("media"), In("versioned"), In("locked"));

INSTANTIATE_TEST_SUITE_P(S3, MediaConformance, kBuckets, NameOf);
INSTANTIATE_TEST_SUITE_P(S3, AppendConformance, kBuckets, NameOf);

}  // namespace
}  // namespace capstan::test
