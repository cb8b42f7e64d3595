// Together: requests that do not need each other's answers, side by side.
#pragma once

#include <functional>
#include <vector>

#include "plugins/s3/failure.h"

namespace capstan::s3 {

// Runs all of them, each on a thread of its own but for the first, and returns when all are over:
// the first failure in their order, if there is one.
Failure Together(const std::vector<std::function<Failure()>>& tasks);

}  // namespace capstan::s3
