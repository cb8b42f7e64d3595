// The media password of SQL Server's media: its MD5 stands in the TAPE block.
// Threads: any.
#pragma once

#include <string_view>

#include "server/media/backup_set.h"
#include "vdi/base/status.h"

namespace capstan::media {

// 3279 if the medium has a password and `password` is not it, or the algorithm is not known. OK for
// every medium without one.
Status CheckMediaPassword(const MediaHeader& header, std::string_view password);

}  // namespace capstan::media
