// RecordingObserver: keeps what a job says to whoever started it.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/job.h"
#include "vdi/base/mutex.h"

namespace capstan::engine {

class RecordingObserver final : public JobObserver {
 public:
  void OnMessage(int number, const std::string& text) override {
    MutexLock lock(mutex_);
    messages.emplace_back(number, text);
  }
  void OnProgress(const JobSnapshot& snapshot) override {
    if (on_progress) {
      on_progress(snapshot);
    }
  }
  // Also while the job runs.
  std::vector<std::string> Texts(int number) const {
    MutexLock lock(mutex_);
    std::vector<std::string> texts;
    for (const auto& [n, text] : messages) {
      if (n == number) {
        texts.push_back(text);
      }
    }
    return texts;
  }

  std::vector<std::pair<int, std::string>> messages;  // read when the job has ended
  std::function<void(const JobSnapshot&)> on_progress;

 private:
  mutable Mutex mutex_;
};

}  // namespace capstan::engine
