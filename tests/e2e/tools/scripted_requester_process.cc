// A scripted Requester in a process of its own, for tests in which that process dies or freezes.
//
//   scripted_requester_process SOCKET dies|freezes
//
// Prints "ready" once it listens. Answers every batch with "10 percent processed." and then ends as
// told. Stays until it is killed.
#include <cstdio>
#include <string>
#include <string_view>

#include <unistd.h>

#include "tests/support/scripted_requester.h"

int main(int argc, char** argv) {
  using namespace capstan;  // NOLINT(google-build-using-namespace): a main, not a header

  if (argc != 3) {
    return 2;
  }
  const bool dies = std::string_view(argv[2]) == "dies";
  test::ScriptedRequester requester("unix:" + std::string(argv[1]));
  requester.Answer("", {test::Information("10 percent processed.", 3211)},
                   dies ? test::Ending::kProcessDies : test::Ending::kProcessFreezes);
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    ::pause();
  }
}
