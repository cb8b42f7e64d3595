// RESTORE HELP and BACKUP HELP. Pure.
#pragma once

#include <span>
#include <string_view>

namespace capstan::coordinator {

// One line each, of at most 120 characters.
std::span<const std::string_view> RestoreHelp();
std::span<const std::string_view> BackupHelp();

}  // namespace capstan::coordinator
