// The engine's process is killed while an agent writes: nothing is discarded, as the engine's
// journal is to decide when it is back.
#include <chrono>
#include <csignal>
#include <memory>

#include <sys/wait.h>
#include <unistd.h>

#include "agent/abi_plugin.h"
#include "agent/agent.h"
#include "tests/support/memory_plugin.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "vdi/rendezvous.h"

namespace capstan::agent {
namespace {

using test::IsOk;

// A process that listens for device sets, and does nothing else until it is killed.
pid_t StartEngine(const std::string& path) {
  int ready[2];
  CAPSTAN_CHECK(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    vdi::RendezvousOptions options;
    options.path = path;
    const auto rendezvous = vdi::Rendezvous::Listen(options);
    const char byte = rendezvous.ok() ? 'y' : 'n';
    [[maybe_unused]] const ssize_t written = ::write(ready[1], &byte, 1);
    while (true) {
      ::pause();
    }
  }
  char byte = 'n';
  CAPSTAN_CHECK(::read(ready[0], &byte, 1) == 1 && byte == 'y');
  ::close(ready[0]);
  ::close(ready[1]);
  return child;
}

TEST(EngineDeath, LeavesTheConstructionForRecovery) {
  test::ForgetMemoryMedia();
  const test::TemporaryDirectory directory;
  const pid_t engine = StartEngine(directory.Under("vdi.sock"));
  const auto plugin = WrapPlugin(test::MemoryPlugin(), "memory").value();
  Agent agent(*plugin, &vdi::ClientDeviceSet::Create);
  agent.SetRendezvousPath(directory.Under("vdi.sock"));
  const DeviceSetOrder order{
      .set_name = "set",
      .mode = CAPSTAN_OPEN_REPLACE,
      .devices = {{.device_name = "set", .target = "mem:a", .token = "token"}}};
  ASSERT_THAT(agent.OpenDeviceSet(order).status, IsOk());

  ::kill(engine, SIGKILL);
  ::waitpid(engine, nullptr, 0);

  // The set ends by itself: a second one of that name may be opened as soon as it has.
  const Deadline deadline = Deadline::After(std::chrono::seconds(10));
  while (!agent.Load().empty() && !deadline.passed()) {
    ::usleep(1000);  // the agent has nobody to tell
  }
  EXPECT_TRUE(agent.Load().empty());
  EXPECT_EQ(test::MemoryConstructionCount(), 1U);
  EXPECT_THAT(plugin->Recover("mem:a", "token", CAPSTAN_RECOVER_DISCARD), IsOk());
}

}  // namespace
}  // namespace capstan::agent
