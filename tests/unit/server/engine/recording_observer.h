// RecordingObserver: keeps what a job says to whoever started it.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/job.h"

namespace capstan::engine {

class RecordingObserver final : public JobObserver {
 public:
  void OnMessage(int number, const std::string& text) override {
    messages.emplace_back(number, text);
  }
  void OnProgress(const JobSnapshot& snapshot) override {
    if (on_progress) {
      on_progress(snapshot);
    }
  }
  std::vector<std::string> Texts(int number) const {
    std::vector<std::string> texts;
    for (const auto& [n, text] : messages) {
      if (n == number) {
        texts.push_back(text);
      }
    }
    return texts;
  }

  std::vector<std::pair<int, std::string>> messages;
  std::function<void(const JobSnapshot&)> on_progress;
};

}  // namespace capstan::engine
