// Finds a plugin's shared library, loads it and asks it for its functions.
#pragma once

#include <memory>
#include <string>

#include "agent/media_plugin.h"
#include "vdi/base/status.h"

namespace capstan::agent {

// "disk" -> "<directory>/disk.so"; a name with a slash is a path already.
std::string PluginPath(const std::string& name_or_path, const std::string& directory);

// "<directory of this executable>/../lib/capstan/plugins", where both the build and the
// installation put plugins.
std::string DefaultPluginDirectory();

// The library stays loaded until the process ends, as its threads may outlive its devices.
// kNotFound: no such file; kFailedPrecondition: not loadable, or another version; as WrapPlugin.
Result<std::unique_ptr<MediaPlugin>> LoadPlugin(const std::string& path);

}  // namespace capstan::agent
