// Recovery: finishes or undoes what a token has begun, whichever kind of writing it was.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/disk/failure.h"
#include "plugins/disk/medium_path.h"

namespace capstan::disk {

// `action` is one of capstan_recover_action. Idempotent.
Failure Recover(const MediumPath& path, const std::string& token, std::uint32_t action);

}  // namespace capstan::disk
