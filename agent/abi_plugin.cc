#include "agent/abi_plugin.h"

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace capstan::agent {
namespace {

constexpr std::uint32_t kAlignmentMax = 65536;
// Everything up to the first optional field.
constexpr std::size_t kPluginSizeMin = offsetof(capstan_plugin, configure);
constexpr std::size_t kSizeWithConfigure =
    offsetof(capstan_plugin, configure) + sizeof(capstan_plugin::configure);
constexpr std::size_t kSizeWithDeviceStatus =
    offsetof(capstan_plugin, device_status) + sizeof(capstan_plugin::device_status);

std::string TextOf(const char* text) {
  return text == nullptr ? "" : text;
}

// Foreign code may have forgotten the end of it.
template <std::size_t kSize>
std::string TextOf(const char (&field)[kSize]) {
  return std::string(field, ::strnlen(field, kSize));
}

std::vector<std::string> SplitSchemes(const std::string& schemes) {
  std::vector<std::string> result;
  for (std::size_t begin = 0; begin < schemes.size();) {
    const std::size_t end = std::min(schemes.find(',', begin), schemes.size());
    if (end > begin) {
      result.push_back(schemes.substr(begin, end - begin));
    }
    begin = end + 1;
  }
  return result;
}

class AbiDevice final : public MediaDevice {
 public:
  AbiDevice(const capstan_plugin& plugin, capstan_device* device)
      : plugin_(plugin), device_(device) {}
  AbiDevice(const AbiDevice&) = delete;
  AbiDevice& operator=(const AbiDevice&) = delete;
  ~AbiDevice() override {
    if (device_ != nullptr) {
      // Nobody is left to tell; what was begun stays for recovery.
      [[maybe_unused]] const Status ignored = Close(CAPSTAN_OUTCOME_KEEP);
    }
  }

  Status Submit(capstan_request* request) override {
    capstan_error error{};
    request->struct_size = sizeof(capstan_request);
    return plugin_.submit(device_, request, &error) == 0 ? OkStatus() : ErrorOf(error, "");
  }

  Status Close(capstan_outcome outcome) override {
    capstan_error error{};
    return plugin_.close(std::exchange(device_, nullptr), outcome, &error) == 0
               ? OkStatus()
               : ErrorOf(error, "");
  }

  MediaDeviceStatus status() const override {
    capstan_device_status told{};
    told.struct_size = sizeof(told);
    capstan_error error{};
    const bool tells = plugin_.struct_size >= kSizeWithDeviceStatus &&
                       plugin_.device_status != nullptr && device_ != nullptr;
    if (!tells || plugin_.device_status(device_, &told, &error) != 0) {
      return {};
    }
    return {.stops = told.stops,
            .medium_time_us = told.medium_time_us,
            .mode = TextOf(told.mode),
            .medium = TextOf(told.medium),
            .waits_for = TextOf(told.waits_for)};
  }

 private:
  const capstan_plugin& plugin_;
  capstan_device* device_;
};

class AbiPlugin final : public MediaPlugin {
 public:
  explicit AbiPlugin(const capstan_plugin& plugin)
      : plugin_(plugin),
        info_{.name = TextOf(plugin.name),
              .version = TextOf(plugin.version),
              .vendor = TextOf(plugin.vendor),
              .device_class = TextOf(plugin.device_class),
              .schemes = SplitSchemes(TextOf(plugin.schemes)),
              .capabilities = plugin.capabilities,
              .device_features = plugin.device_features,
              .alignment = plugin.alignment} {}

  const MediaPluginInfo& info() const override { return info_; }

  Status Configure(const std::string& key, const std::string& value) override {
    if (plugin_.struct_size < kSizeWithConfigure || plugin_.configure == nullptr) {
      return Error(Code::kInvalidArgument, "plugin '{}' has no option '{}'; it has none at all",
                   info_.name, key);
    }
    capstan_error error{};
    if (plugin_.configure(key.c_str(), value.c_str(), &error) == 0) {
      return OkStatus();
    }
    const Status cause = ErrorOf(error, "option '" + key + "'");
    return Error(Code::kInvalidArgument, "plugin '{}': {}", info_.name, cause.message())
        .WithHint(std::string(cause.hint()));
  }

  Result<std::unique_ptr<MediaDevice>> Open(const OpenMediumOptions& options) override {
    if (options.resume && (info_.capabilities & CAPSTAN_CAN_RESUME) == 0) {
      // It may be older than the flag, and begin anew over what is there.
      return Error(Code::kUnimplemented,
                   "plugin '{}' cannot go on with medium '{}', which an earlier job has begun",
                   info_.name, options.target)
          .WithOsError(ENOTSUP);
    }
    const capstan_open_params params = {
        .struct_size = sizeof(capstan_open_params),
        .mode = options.mode,
        .target = options.target.c_str(),
        .token = options.token.c_str(),
        .block_size = options.block_size,
        .max_transfer_size = options.transfer_size_max,
        .size_estimate = options.size_estimate,
        .queue_depth_max = options.queue_depth_max,
        .reserved = 0,
        .retain_until_unix_s = options.retain_until_unix_s,
        .flags = options.resume ? CAPSTAN_OPEN_RESUME : 0,
        .reserved2 = 0,
    };
    capstan_device* device = nullptr;
    capstan_error error{};
    if (plugin_.open(&params, &device, &error) != 0) {
      return ErrorOf(error, "medium '" + options.target + "'");
    }
    if (device == nullptr) {
      return Error(Code::kInternal, "plugin '{}' opened medium '{}' without a device", info_.name,
                   options.target);
    }
    return std::unique_ptr<MediaDevice>(std::make_unique<AbiDevice>(plugin_, device));
  }

  Result<MediumStat> Stat(const std::string& target) override {
    capstan_stat_result result{};
    result.struct_size = sizeof(result);
    capstan_error error{};
    if (plugin_.stat(target.c_str(), &result, &error) != 0) {
      return ErrorOf(error, "medium '" + target + "'");
    }
    return MediumStat{.exists = result.exists != 0,
                      .size = result.size,
                      .free_space = result.free_space,
                      .modified_unix_s = result.modified_unix_s};
  }

  Status Remove(const std::string& target) override {
    if ((info_.capabilities & CAPSTAN_CAN_REMOVE) == 0) {
      return Unsupported("remove", target);
    }
    capstan_error error{};
    return plugin_.remove(target.c_str(), &error) == 0 ? OkStatus()
                                                       : ErrorOf(error, "medium '" + target + "'");
  }

  Status Recover(const std::string& target, const std::string& token,
                 capstan_recover_action action) override {
    if ((info_.capabilities & CAPSTAN_CAN_RECOVER) == 0) {
      return Unsupported("recover", target);
    }
    capstan_error error{};
    return plugin_.recover(target.c_str(), token.c_str(), action, &error) == 0
               ? OkStatus()
               : ErrorOf(error, "medium '" + target + "'");
  }

 private:
  Status Unsupported(const char* what, const std::string& target) const {
    return Error(Code::kUnimplemented, "plugin '{}' cannot {} medium '{}'", info_.name, what,
                 target);
  }

  const capstan_plugin& plugin_;
  const MediaPluginInfo info_;
};

bool HasItsFunctions(const capstan_plugin& plugin) {
  return plugin.open != nullptr && plugin.submit != nullptr && plugin.close != nullptr &&
         plugin.stat != nullptr &&
         (plugin.remove != nullptr || (plugin.capabilities & CAPSTAN_CAN_REMOVE) == 0) &&
         (plugin.recover != nullptr || (plugin.capabilities & CAPSTAN_CAN_RECOVER) == 0);
}

}  // namespace

Result<std::unique_ptr<MediaPlugin>> WrapPlugin(const capstan_plugin* plugin,
                                                const std::string& origin) {
  if (plugin == nullptr) {
    return Error(Code::kFailedPrecondition, "plugin '{}' does not work with version {} of agents",
                 origin, CAPSTAN_PLUGIN_ABI_VERSION)
        .WithHint("Install a build of the plugin for this version of Capstan.");
  }
  if (plugin->struct_size < kPluginSizeMin) {
    return Error(Code::kFailedPrecondition, "plugin '{}' describes itself in {} bytes, expected {}",
                 origin, plugin->struct_size, kPluginSizeMin);
  }
  if (plugin->abi_version != CAPSTAN_PLUGIN_ABI_VERSION) {
    return Error(Code::kFailedPrecondition,
                 "plugin '{}' has version {} of the interface, expected {}", origin,
                 plugin->abi_version, CAPSTAN_PLUGIN_ABI_VERSION)
        .WithHint("Install a build of the plugin for this version of Capstan.");
  }
  if (TextOf(plugin->name).empty() || TextOf(plugin->device_class).empty() ||
      !HasItsFunctions(*plugin)) {
    return Error(Code::kInvalidArgument, "plugin '{}' lacks a name, a class or a function", origin);
  }
  if (!std::has_single_bit(plugin->alignment) || plugin->alignment > kAlignmentMax) {
    return Error(Code::kInvalidArgument, "plugin '{}' wants buffers aligned to {} bytes", origin,
                 plugin->alignment);
  }
  return std::unique_ptr<MediaPlugin>(std::make_unique<AbiPlugin>(*plugin));
}

Status ErrorOf(const capstan_error& error, const std::string& context) {
  std::string message = TextOf(error.message);
  if (message.empty()) {
    message = context.empty() ? "the plugin failed" : context;
  }
  Status status = error.os_error != 0 ? OsError(error.os_error, message)
                                      : Status(Code::kUnknown, std::move(message));
  if ((error.flags & CAPSTAN_ERROR_TRANSIENT) != 0) {
    status = Status(Code::kUnavailable, std::string(status.message())).WithOsError(error.os_error);
  }
  return std::move(status).WithHint(TextOf(error.hint));
}

}  // namespace capstan::agent
