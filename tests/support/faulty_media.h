// FaultyMedia: a decorator that lets chosen calls of a plugin fail.
//
//   FaultyMedia plugin(WrapMemoryPlugin(), {{.call = Call::kWrite, .number = 3, .os_error =
//   ENOSPC}});
//
// A planned fault that never fired fails the test when the decorator goes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/media_plugin.h"
#include "vdi/base/mutex.h"

namespace capstan::test {

struct MediaFault {
  enum class Call { kOpen, kSubmit, kWrite, kRead, kFlush, kComplete, kClose };
  Call call = Call::kWrite;
  std::uint32_t number = 1;            // which call of its kind fails, from 1, over all devices
  int os_error = 5;                    // EIO
  std::uint32_t completion_code = 29;  // kWrite, kRead, kFlush, kComplete
  bool transient = false;              // it passes by itself
};

class FaultyMedia final : public agent::MediaPlugin {
 public:
  FaultyMedia(std::unique_ptr<agent::MediaPlugin> plugin, std::vector<MediaFault> plan);
  ~FaultyMedia() override;

  const agent::MediaPluginInfo& info() const override { return plugin_->info(); }
  Status Configure(const std::string& key, const std::string& value) override {
    return plugin_->Configure(key, value);
  }
  Result<std::unique_ptr<agent::MediaDevice>> Open(
      const agent::OpenMediumOptions& options) override;
  Result<agent::MediumStat> Stat(const std::string& target) override {
    return plugin_->Stat(target);
  }
  Status Remove(const std::string& target) override { return plugin_->Remove(target); }
  Status Recover(const std::string& target, const std::string& token,
                 capstan_recover_action action) override {
    return plugin_->Recover(target, token, action);
  }

  // The fault that this call is to suffer, or null. For the devices.
  const MediaFault* Count(MediaFault::Call call) CAPSTAN_EXCLUDES(mutex_);

 private:
  const std::unique_ptr<agent::MediaPlugin> plugin_;

  Mutex mutex_;
  std::vector<MediaFault> plan_ CAPSTAN_GUARDED_BY(mutex_);
  std::vector<bool> fired_ CAPSTAN_GUARDED_BY(mutex_);
  std::uint32_t counts_[7] CAPSTAN_GUARDED_BY(mutex_) = {};
};

}  // namespace capstan::test
