// What the engine and FILELISTONLY are told of an SQLite database.
#pragma once

#include <string>

#include "server/writers/database_writer.h"
#include "server/writers/sqlite/sqlite_view.h"

namespace capstan::writers {

DatabaseDescription DescribeView(const SqliteView& view, const std::string& logical_name);

}  // namespace capstan::writers
