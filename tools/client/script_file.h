// Whole files as text.
#pragma once

#include <cstdio>
#include <string>

#include "vdi/base/status.h"

namespace capstan::cli {

// To the end of the stream; `name` is for the error.
Result<std::string> ReadStream(std::FILE* stream, const std::string& name);

Result<std::string> ReadScriptFile(const std::string& path);

}  // namespace capstan::cli
