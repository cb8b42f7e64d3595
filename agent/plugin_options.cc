#include "agent/plugin_options.h"

#include <algorithm>

namespace capstan::agent {

Result<std::pair<std::string, std::string>> ParsePluginOption(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    // Not the text itself: what has lost its '=' may be a secret.
    return Error(Code::kInvalidArgument, "an option of the plugin is not of the form key=value");
  }
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

Result<PluginOptions> ParsePluginOptions(std::string_view lines) {
  PluginOptions options;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    if (!line.empty()) {
      CAPSTAN_ASSIGN_OR_RETURN(auto option, ParsePluginOption(line));
      options.push_back(std::move(option));
    }
  }
  return options;
}

Status ConfigurePlugin(MediaPlugin& plugin, const PluginOptions& options) {
  for (const auto& [key, value] : options) {
    CAPSTAN_RETURN_IF_ERROR(plugin.Configure(key, value));
  }
  return OkStatus();
}

}  // namespace capstan::agent
