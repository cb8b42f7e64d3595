// Options of a plugin, as they reach the agent: "key=value" of its command line, and lines of the
// same in an environment variable, which others on the machine cannot read.
//
// Threads: functions without state.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/media_plugin.h"
#include "vdi/base/status.h"

namespace capstan::agent {

using PluginOptions = std::vector<std::pair<std::string, std::string>>;

// "key=value"; the value may be empty and may hold more '='. kInvalidArgument: no key or no '='.
Result<std::pair<std::string, std::string>> ParsePluginOption(std::string_view text);

// Lines of it; empty lines do not count.
Result<PluginOptions> ParsePluginOptions(std::string_view lines);

// Gives each to the plugin, before anything else is asked of it. Ends with the first that the
// plugin refuses, in the plugin's words.
Status ConfigurePlugin(MediaPlugin& plugin, const PluginOptions& options);

}  // namespace capstan::agent
