#include "plugins/s3/together.h"

#include <algorithm>
#include <thread>

#include "plugins/edge/quiet_thread.h"

namespace capstan::s3 {

Failure Together(const std::vector<std::function<Failure()>>& tasks) {
  std::vector<Failure> failures(tasks.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < tasks.size(); ++i) {
      threads.push_back(edge::QuietThread([&, i] { failures[i] = tasks[i](); }));
    }
    failures[0] = tasks[0]();
  }
  const auto first = std::find_if(failures.begin(), failures.end(),
                                  [](const Failure& failure) { return failure.failed(); });
  return first == failures.end() ? Failure::None() : *first;
}

}  // namespace capstan::s3
