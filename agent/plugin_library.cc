#include "agent/plugin_library.h"

#include <cerrno>
#include <climits>

#include <dlfcn.h>
#include <unistd.h>

#include "agent/abi_plugin.h"

namespace capstan::agent {
namespace {

// dlerror names the path already, most of the time.
std::string LoaderError() {
  const char* const text = ::dlerror();
  return text == nullptr ? "unknown error" : text;
}

}  // namespace

std::string PluginPath(const std::string& name_or_path, const std::string& directory) {
  return name_or_path.find('/') == std::string::npos ? directory + "/" + name_or_path + ".so"
                                                     : name_or_path;
}

std::string DefaultPluginDirectory() {
  char executable[PATH_MAX];
  const ssize_t size = ::readlink("/proc/self/exe", executable, sizeof(executable));
  if (size <= 0) {
    return "lib/capstan/plugins";
  }
  const std::string path(executable, static_cast<std::size_t>(size));
  return path.substr(0, path.rfind('/')) + "/../lib/capstan/plugins";
}

Result<std::unique_ptr<MediaPlugin>> LoadPlugin(const std::string& path) {
  if (::access(path.c_str(), R_OK) != 0) {
    return OsError(errno, "unable to load plugin '" + path + "'")
        .WithHint("Name a plugin that is installed, its path, or its directory (--plugin-dir).");
  }
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return Error(Code::kFailedPrecondition, "unable to load plugin '{}': {}", path, LoaderError());
  }
  const auto get = reinterpret_cast<capstan_plugin_get_fn>(::dlsym(library, "capstan_plugin_get"));
  if (get == nullptr) {
    return Error(Code::kFailedPrecondition, "'{}' is no plugin: {}", path, LoaderError());
  }
  return WrapPlugin(get(CAPSTAN_PLUGIN_ABI_VERSION), path);
}

}  // namespace capstan::agent
