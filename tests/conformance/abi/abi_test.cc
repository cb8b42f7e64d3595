// What is compiled against version 1 of capstan/plugin.h works with every later version of Capstan.
#include <cstddef>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "agent/plugin_library.h"
#include "capstan/plugin.h"
#include "tests/conformance/abi/layout.h"
#include "tests/support/status_matchers.h"

namespace capstan::test {
namespace {

struct Place {
  long long offset = 0;
  std::size_t size = 0;
};

// Today's header, as the agent's compiler sees it. A name of version 1 that is gone does not
// compile.
const std::map<std::string, Place>& Today() {
  static const std::map<std::string, Place> layout = {
#define STRUCT(type) {"sizeof(" #type ")", {static_cast<long long>(sizeof(type)), 0}},
#define FIELD(type, field) \
  {#type "." #field, {static_cast<long long>(offsetof(type, field)), sizeof(type::field)}},
#define NUMBER(name) {#name, {static_cast<long long>(name), 0}},
#include "tests/conformance/abi/version_1.inc"
#undef STRUCT
#undef FIELD
#undef NUMBER
  };
  return layout;
}

TEST(PluginAbi, FieldsAreOnlyAppendedAndNumbersStay) {
  std::size_t count = 0;
  for (const abi_entry* golden = golden_layout; golden->name != nullptr; ++golden, ++count) {
    const std::string name = golden->name;
    const Place& today = Today().at(name);
    EXPECT_EQ(today.size, golden->size) << name;
    if (name.starts_with("sizeof(") && name != "sizeof(capstan_error)") {
      EXPECT_GE(today.offset, golden->offset) << name;
    } else {
      EXPECT_EQ(today.offset, golden->offset) << name;
    }
  }
  EXPECT_EQ(count, Today().size());
  EXPECT_EQ(count, 116U);  // of version 1, which has no more and no less
}

TEST(PluginAbi, AgentLoadsWhatWasCompiledAgainstVersion1) {
  const auto plugin = agent::LoadPlugin(GOLDEN_PLUGIN);

  ASSERT_THAT(plugin, IsOk());
  EXPECT_EQ((*plugin)->info().name, "cas");
  EXPECT_EQ((*plugin)->info().capabilities & CAPSTAN_CAN_APPEND, CAPSTAN_CAN_APPEND);
  EXPECT_THAT((*plugin)->Configure("no-such", "1"), HasCode(Code::kInvalidArgument));
}

}  // namespace
}  // namespace capstan::test
