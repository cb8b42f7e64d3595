#include "agent/plugin_options.h"

#include "agent/abi_plugin.h"
#include "tests/support/memory_plugin.h"
#include "tests/support/status_matchers.h"

namespace capstan::agent {
namespace {

using test::HasCode;
using test::IsOk;
using test::MessageHas;

std::vector<std::string> g_configured;  // "key=value" in the order of the calls

int Configure(const char* key, const char* value, capstan_error* error) {
  if (std::string_view(key) == "colour") {
    std::snprintf(error->message, sizeof(error->message), "unknown option 'colour'");
    std::snprintf(error->hint, sizeof(error->hint), "options are endpoint and region");
    return -1;
  }
  g_configured.push_back(std::string(key) + "=" + value);
  return 0;
}

std::unique_ptr<MediaPlugin> ConfigurablePlugin() {
  static capstan_plugin plugin;
  plugin = *test::MemoryPlugin();
  plugin.configure = Configure;
  g_configured.clear();
  return std::move(WrapPlugin(&plugin, "memory")).value();
}

TEST(PluginOptions, ValueMayBeEmptyAndMayHoldEqualSigns) {
  EXPECT_EQ(ParsePluginOption("a=b=c").value(), std::pair(std::string("a"), std::string("b=c")));
  EXPECT_EQ(ParsePluginOption("a=").value(), std::pair(std::string("a"), std::string()));
}

TEST(PluginOptions, TextWithoutKeyIsRefusedWithoutRepeatingIt) {
  for (const char* text : {"", "=value", "hunter2"}) {
    const auto option = ParsePluginOption(text);
    EXPECT_THAT(option, HasCode(Code::kInvalidArgument)) << text;
    EXPECT_THAT(option, MessageHas("key=value"));
    EXPECT_THAT(std::string(option.status().message()), testing::Not(testing::HasSubstr("hunter")));
  }
}

TEST(PluginOptions, LinesAreReadInOrder) {
  const auto options = ParsePluginOptions("a=1\n\nb=2\nc=3");
  ASSERT_THAT(options, IsOk());
  EXPECT_EQ(*options, (PluginOptions{{"a", "1"}, {"b", "2"}, {"c", "3"}}));
  EXPECT_THAT(ParsePluginOptions("a=1\nb\n"), HasCode(Code::kInvalidArgument));
}

TEST(PluginOptions, ReachThePluginInOrder) {
  const auto plugin = ConfigurablePlugin();
  EXPECT_THAT(ConfigurePlugin(*plugin, {{"region", "eu"}, {"endpoint", "x"}}), IsOk());
  EXPECT_EQ(g_configured, (std::vector<std::string>{"region=eu", "endpoint=x"}));
}

TEST(PluginOptions, RefusalIsInThePluginsWords) {
  const auto plugin = ConfigurablePlugin();
  const Status status = ConfigurePlugin(*plugin, {{"colour", "red"}, {"region", "eu"}});
  EXPECT_THAT(status, HasCode(Code::kInvalidArgument));
  EXPECT_THAT(status, MessageHas("unknown option 'colour'"));
  EXPECT_EQ(status.hint(), "options are endpoint and region");
  EXPECT_TRUE(g_configured.empty());
}

}  // namespace
}  // namespace capstan::agent
