// MediaDecorator: a plugin in front of another. Everything goes through; decorators override what
// they change.
//
// Threads: as MediaPlugin.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "agent/media_plugin.h"

namespace capstan::agent {

class MediaDecorator : public MediaPlugin {
 public:
  explicit MediaDecorator(std::unique_ptr<MediaPlugin> plugin) : plugin_(std::move(plugin)) {}

  const MediaPluginInfo& info() const override { return plugin_->info(); }
  Status Configure(const std::string& key, const std::string& value) override {
    return plugin_->Configure(key, value);
  }
  Result<std::unique_ptr<MediaDevice>> Open(const OpenMediumOptions& options) override {
    return plugin_->Open(options);
  }
  Result<MediumStat> Stat(const std::string& target) override { return plugin_->Stat(target); }
  Status Remove(const std::string& target) override { return plugin_->Remove(target); }
  Status Recover(const std::string& target, const std::string& token,
                 capstan_recover_action action) override {
    return plugin_->Recover(target, token, action);
  }
  void EndWaits() override { plugin_->EndWaits(); }

 protected:
  MediaPlugin& plugin() { return *plugin_; }

 private:
  const std::unique_ptr<MediaPlugin> plugin_;
};

// Whether a completion code is an error; what ends a stream or a volume in good order is none.
inline bool IsErrorCode(std::uint32_t code) {
  return code != CAPSTAN_E_OK && code != CAPSTAN_E_END && code != CAPSTAN_E_FILE_MARK &&
         code != CAPSTAN_E_NO_DATA && code != CAPSTAN_E_END_OF_MEDIUM;
}

inline bool IsTransferOp(std::int32_t op) {
  return op == CAPSTAN_OP_READ || op == CAPSTAN_OP_WRITE;
}

// Ends a request that was accepted and will not be carried out.
void CompleteWithError(capstan_request* request, std::uint32_t code, const Status& why);

}  // namespace capstan::agent
