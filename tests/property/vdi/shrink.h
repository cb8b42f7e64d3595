// Delta debugging: the fewest elements of a sequence that still fail.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace capstan::test {

// `fails(sequence)` is true. Any subsequence may be tried; the result fails, and with any one
// element less it does not.
template <typename T>
std::vector<T> Shrink(std::vector<T> sequence,
                      const std::function<bool(const std::vector<T>&)>& fails) {
  for (std::size_t chunk = sequence.size() / 2; chunk > 0;) {
    bool removed = false;
    for (std::size_t at = 0; at < sequence.size();) {
      std::vector<T> shorter = sequence;
      const auto from = shorter.begin() + static_cast<std::ptrdiff_t>(at);
      const std::size_t count = std::min(chunk, sequence.size() - at);
      shorter.erase(from, from + static_cast<std::ptrdiff_t>(count));
      if (fails(shorter)) {
        sequence = std::move(shorter);
        removed = true;
      } else {
        at += count;
      }
    }
    if (chunk == 1 && !removed) {
      break;
    }
    chunk = chunk > 1 ? chunk / 2 : 1;
  }
  return sequence;
}

}  // namespace capstan::test
