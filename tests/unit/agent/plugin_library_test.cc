#include "agent/plugin_library.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <fstream>

#include "agent/abi_plugin.h"
#include "tests/support/memory_plugin.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace capstan::agent {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

TEST(PluginLibrary, NameIsLookedUpInTheDirectoryAndAPathIsNot) {
  EXPECT_EQ(PluginPath("disk", "/usr/lib/capstan/plugins"), "/usr/lib/capstan/plugins/disk.so");
  EXPECT_EQ(PluginPath("./mine.so", "/usr/lib/capstan/plugins"), "./mine.so");
}

TEST(PluginLibrary, LoadsTheDiskPlugin) {
  const auto plugin = LoadPlugin(CAPSTAN_DISK_PLUGIN);

  ASSERT_THAT(plugin, IsOk());
  EXPECT_EQ((*plugin)->info().name, "disk");
  EXPECT_EQ((*plugin)->info().device_class, "DISK");
  EXPECT_THAT((*plugin)->info().schemes, testing::IsEmpty());
}

TEST(PluginLibrary, MissingFileIsNamed) {
  const auto plugin = LoadPlugin("/nowhere/s3.so");

  EXPECT_THAT(plugin, HasCode(Code::kNotFound));
  EXPECT_THAT(plugin, MessageHas("/nowhere/s3.so"));
}

TEST(PluginLibrary, FileThatIsNoLibraryIsRefused) {
  const test::TemporaryDirectory directory;
  std::ofstream(directory.Under("text.so")) << "no library";

  EXPECT_THAT(LoadPlugin(directory.Under("text.so")), HasCode(Code::kFailedPrecondition));
}

TEST(PluginLibrary, LibraryThatIsNoPluginIsRefused) {
  const auto plugin = LoadPlugin(CAPSTAN_NO_PLUGIN);

  EXPECT_THAT(plugin, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(plugin, MessageHas("is no plugin"));
}

TEST(AbiPlugin, NullMeansAnotherVersion) {
  const auto plugin = WrapPlugin(nullptr, "x.so");

  EXPECT_THAT(plugin, HasCode(Code::kFailedPrecondition));
  EXPECT_THAT(plugin, MessageHas("x.so"));
}

TEST(AbiPlugin, OtherVersionIsRefused) {
  capstan_plugin plugin = *test::MemoryPlugin();
  plugin.abi_version = CAPSTAN_PLUGIN_ABI_VERSION + 1;

  EXPECT_THAT(WrapPlugin(&plugin, "x.so"), HasCode(Code::kFailedPrecondition));
}

TEST(AbiPlugin, ShorterStructThanTheRequiredPartIsRefused) {
  capstan_plugin plugin = *test::MemoryPlugin();
  plugin.struct_size = offsetof(capstan_plugin, recover);

  EXPECT_THAT(WrapPlugin(&plugin, "x.so"), HasCode(Code::kFailedPrecondition));
}

// A plugin that was built before device_status existed: the field is not looked at.
TEST(AbiPlugin, OptionalFieldBeyondTheStructIsNotUsed) {
  test::ForgetMemoryMedia();
  capstan_plugin plugin = *test::MemoryPlugin();
  plugin.struct_size = offsetof(capstan_plugin, device_status);
  plugin.device_status = [](capstan_device*, capstan_device_status*, capstan_error*) -> int {
    std::abort();
  };

  const auto wrapped = WrapPlugin(&plugin, "x.so");

  ASSERT_THAT(wrapped, IsOk());
  const auto device =
      (*wrapped)->Open({.mode = CAPSTAN_OPEN_CREATE, .target = "mem:x", .token = "t"});
  ASSERT_THAT(device, IsOk());
  EXPECT_EQ((*device)->status().mode, "");
  EXPECT_THAT((*device)->Close(CAPSTAN_OUTCOME_DISCARD), IsOk());
}

TEST(AbiPlugin, MissingFunctionIsRefused) {
  capstan_plugin plugin = *test::MemoryPlugin();
  plugin.submit = nullptr;
  EXPECT_THAT(WrapPlugin(&plugin, "x.so"), HasCode(Code::kInvalidArgument));

  plugin = *test::MemoryPlugin();
  plugin.recover = nullptr;
  EXPECT_THAT(WrapPlugin(&plugin, "x.so"), HasCode(Code::kInvalidArgument));
}

TEST(AbiPlugin, CapabilityThatIsAbsentIsNotCalled) {
  capstan_plugin plugin = *test::MemoryPlugin();
  plugin.recover = nullptr;
  plugin.remove = nullptr;
  plugin.capabilities = CAPSTAN_CAN_READ;

  const auto wrapped = WrapPlugin(&plugin, "x.so");

  ASSERT_THAT(wrapped, IsOk());
  EXPECT_THAT((*wrapped)->Remove("mem:x"), HasCode(Code::kUnimplemented));
  EXPECT_THAT((*wrapped)->Recover("mem:x", "t", CAPSTAN_RECOVER_COMMIT),
              HasCode(Code::kUnimplemented));
}

// It may be older than the flag: asked to go on with a medium, it would begin a new one.
TEST(AbiPlugin, PluginThatCannotResumeIsNotAskedTo) {
  capstan_plugin plugin = *test::MemoryPlugin();
  plugin.capabilities &= ~CAPSTAN_CAN_RESUME;
  plugin.open = [](const capstan_open_params*, capstan_device**, capstan_error*) -> int {
    std::abort();
  };

  const auto refused =
      WrapPlugin(&plugin, "x.so")
          .value()
          ->Open({.mode = CAPSTAN_OPEN_REPLACE, .target = "mem:x", .token = "t", .resume = true});

  EXPECT_THAT(refused, HasCode(Code::kUnimplemented));
  EXPECT_EQ(refused.status().os_error(), ENOTSUP);
  EXPECT_EQ(refused.status().message(),
            "plugin 'memory' cannot go on with medium 'mem:x', which an earlier job has begun");
}

TEST(AbiPlugin, ResumeIsAFlagOfOpen) {
  static capstan_open_params seen{};
  capstan_plugin plugin = *test::MemoryPlugin();
  plugin.open = [](const capstan_open_params* params, capstan_device**, capstan_error* error) {
    seen = *params;
    error->os_error = EIO;
    return -1;
  };
  const auto wrapped = WrapPlugin(&plugin, "x.so");
  ASSERT_THAT(wrapped, IsOk());

  for (const bool resume : {true, false}) {
    EXPECT_THAT(
        (*wrapped)->Open(
            {.mode = CAPSTAN_OPEN_REPLACE, .target = "mem:x", .token = "t", .resume = resume}),
        testing::Not(IsOk()));
    EXPECT_EQ(seen.flags, resume ? CAPSTAN_OPEN_RESUME : 0U);
    EXPECT_EQ(seen.struct_size, sizeof(capstan_open_params));
  }
}

TEST(AbiPlugin, OddAlignmentIsRefused) {
  for (const std::uint32_t alignment : {0U, 3000U, 131072U}) {
    capstan_plugin plugin = *test::MemoryPlugin();
    plugin.alignment = alignment;
    EXPECT_THAT(WrapPlugin(&plugin, "x.so"), HasCode(Code::kInvalidArgument)) << alignment;
  }
}

TEST(AbiPlugin, SchemesAreSplit) {
  capstan_plugin plugin = *test::MemoryPlugin();
  plugin.schemes = "s3,https,";

  EXPECT_THAT(WrapPlugin(&plugin, "x.so").value()->info().schemes,
              testing::ElementsAre("s3", "https"));
}

// The text of a foreign plugin need not end with a null.
TEST(AbiPlugin, ErrorTextStopsAtTheEndOfItsField) {
  capstan_error error{};
  std::fill(std::begin(error.message), std::end(error.message), 'x');
  error.os_error = ENOSPC;

  const Status status = ErrorOf(error, "context");

  EXPECT_THAT(status, HasCode(Code::kResourceExhausted));
  EXPECT_THAT(status, MessageHas(std::string(sizeof(error.message), 'x') + ": "));
  EXPECT_THAT(ErrorOf(capstan_error{}, "context"), MessageHas("context"));
}

}  // namespace
}  // namespace capstan::agent
