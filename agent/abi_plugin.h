// AbiPlugin: a MediaPlugin made of the C functions of capstan/plugin.h.
//
// Foreign code is checked before it is trusted: version, struct size, required functions,
// alignment.
#pragma once

#include <memory>
#include <string>

#include "agent/media_plugin.h"
#include "vdi/base/status.h"

namespace capstan::agent {

// `plugin` and all it points to outlive the result. `origin` names it in messages.
// kFailedPrecondition: another version; kInvalidArgument: it breaks the rules of plugin.h.
Result<std::unique_ptr<MediaPlugin>> WrapPlugin(const capstan_plugin* plugin,
                                                const std::string& origin);

// The status of a failed call or request: "<message>: <text of errno>", `context` for a message
// that is empty. kUnavailable if the plugin says that it may pass by itself.
Status ErrorOf(const capstan_error& error, const std::string& context);

}  // namespace capstan::agent
