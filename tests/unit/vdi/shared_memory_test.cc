#include "vdi/shared_memory.h"

#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/device_set_pair.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/memory_limits.h"

namespace capstan::vdi {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

constexpr std::size_t kSize = 3 << 16;

TEST(SharedMemory, BothEndsSeeTheSameZeroedBytes) {
  auto created = SharedMemory::Create("test", kSize, 4096);
  ASSERT_THAT(created, IsOk());
  auto adopted = SharedMemory::Adopt(UniqueFd(::dup(created->fd())), kSize, 4096);
  ASSERT_THAT(adopted, IsOk());
  adopted->Populate();

  EXPECT_EQ(adopted->data()[kSize - 1], std::byte{0});
  std::memset(created->data(), 7, kSize);

  EXPECT_EQ(adopted->data()[kSize - 1], std::byte{7});
  EXPECT_NE(adopted->data(), created->data());
}

TEST(SharedMemory, NobodyCanChangeItsSize) {
  auto memory = SharedMemory::Create("test", kSize, 4096);
  ASSERT_THAT(memory, IsOk());

  EXPECT_NE(::ftruncate(memory->fd(), 4096), 0);
  EXPECT_NE(::ftruncate(memory->fd(), 2 * kSize), 0);
  EXPECT_NE(::fcntl(memory->fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(SharedMemory, StandsAtTheAlignmentAskedFor) {
  for (const std::size_t alignment : {4096U, 65536U, 1U << 20}) {
    auto memory = SharedMemory::Create("test", kSize, alignment);
    ASSERT_THAT(memory, IsOk());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory->data()) % alignment, 0U);
  }
}

TEST(SharedMemory, MovingKeepsTheAddress) {
  auto memory = SharedMemory::Create("test", kSize, 4096);
  ASSERT_THAT(memory, IsOk());
  const std::byte* const address = memory->data();

  const SharedMemory moved = std::move(memory).value();

  EXPECT_EQ(moved.data(), address);
}

TEST(SharedMemory, AdoptRefusesAnotherSize) {
  auto created = SharedMemory::Create("test", kSize, 4096);
  ASSERT_THAT(created, IsOk());

  EXPECT_THAT(SharedMemory::Adopt(UniqueFd(::dup(created->fd())), kSize + 4096, 4096),
              HasCode(Code::kFailedPrecondition));
}

TEST(SharedMemory, AdoptRefusesWhatCanStillShrink) {
  UniqueFd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), kSize), 0);

  EXPECT_THAT(SharedMemory::Adopt(std::move(unsealed), kSize, 4096), MessageHas("not sealed"));
}

TEST(SharedMemory, AdoptRefusesWhatIsNoDescriptor) {
  EXPECT_THAT(SharedMemory::Adopt(UniqueFd(), kSize, 4096), testing::Not(IsOk()));
}

// Passing RLIMIT_FSIZE would raise SIGXFSZ.
TEST(SharedMemory, ALimitOnFileSizeIsAnErrorAndNotASignal) {
  rlimit saved{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &saved), 0);
  rlimit low = saved;
  low.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);

  const auto memory = SharedMemory::Create("test", kSize, 4096);
  ::setrlimit(RLIMIT_FSIZE, &saved);

  EXPECT_THAT(memory, HasCode(Code::kResourceExhausted));
}

TEST(SharedMemory, MoreThanTheMachineHasIsRefused) {
  EXPECT_THAT(SharedMemory::Create("test", 1ULL << 60, 4096), HasCode(Code::kResourceExhausted));
}

class MemoryLimits : public testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(folder_.Under(name)).parent_path());
    std::ofstream(folder_.Under(name)) << text;
  }
  MemoryLimitSources sources() const {
    return {.meminfo = folder_.Under("meminfo"),
            .own_groups = folder_.Under("cgroup"),
            .group_root = folder_.Under("groups")};
  }
  test::TemporaryDirectory folder_;
};

TEST_F(MemoryLimits, WithoutSourcesThereIsNoLimit) {
  EXPECT_THAT(CheckMemoryFor(1ULL << 50, sources()), IsOk());
}

TEST_F(MemoryLimits, TheMachineLimits) {
  Write("meminfo", "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\n");

  EXPECT_EQ(AvailableMemory(sources()), 1024U * 1024);
  EXPECT_THAT(CheckMemoryFor(1 << 20, sources()), IsOk());
  EXPECT_THAT(CheckMemoryFor((1 << 20) + 1, sources()), HasCode(Code::kResourceExhausted));
}

TEST_F(MemoryLimits, EveryGroupAboveLimitsAndDroppableCacheDoesNotCount) {
  Write("cgroup", "0::/service/capstand\n");
  Write("groups/service/capstand/memory.max", "max\n");
  Write("groups/service/capstand/memory.current", "500\n");
  Write("groups/service/memory.max", "10000\n");
  Write("groups/service/memory.current", "6000\n");
  Write("groups/service/memory.stat", "anon 1\ninactive_file 1500\n");

  EXPECT_EQ(AvailableMemory(sources()), 5500U);
}

TEST_F(MemoryLimits, VersionOneGroupsLimitToo) {
  Write("cgroup", "9:name=systemd:/\n4:memory:/a\n0::/\n");
  Write("groups/memory/a/memory.limit_in_bytes", "4096\n");
  Write("groups/memory/a/memory.usage_in_bytes", "5000\n");

  EXPECT_EQ(AvailableMemory(sources()), 0U);
}

TEST_F(MemoryLimits, RubbishDoesNotLimit) {
  Write("meminfo", "MemAvailable:");
  Write("cgroup", "rubbish\n::\n4:memory:relative\n");

  EXPECT_THAT(CheckMemoryFor(1ULL << 50, sources()), IsOk());
}

}  // namespace
}  // namespace capstan::vdi
