// The plugin of the tests that keeps media in its process, as a library of its own: it passes for a
// medium until the process ends.
#include "tests/support/memory_plugin.h"

extern "C" __attribute__((visibility("default"))) const capstan_plugin* capstan_plugin_get(
    uint32_t) {
  return capstan::test::MemoryPlugin();
}
