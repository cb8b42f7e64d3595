// The result set of RESTORE MEDIAMAP, a statement of ours: what every byte of some media belongs
// to, a row per piece, in the order of each medium. What a medium does not say is NULL. Pure.
#pragma once

#include <string>

#include "server/catalog/catalog.h"
#include "server/media/media_map.h"

namespace capstan::coordinator {

catalog::Table EmptyMediaMapTable();
// REQUIRES: `table` began as EmptyMediaMapTable.
void AddMediaMap(const std::string& device, const media::MediumMap& map, catalog::Table* table);

}  // namespace capstan::coordinator
