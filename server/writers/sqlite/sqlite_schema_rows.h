// What the schema of a database says of its b-trees, from the bytes of a page of its own b-tree.
// (SQLite documentation, "Database File Format", sections 1.6, 2.1 and 2.6.)
//
// Threads: any; stateless.
#pragma once

#include <optional>
#include <vector>

#include "server/writers/sqlite/sqlite_btree_page.h"
#include "server/writers/sqlite/sqlite_format.h"

namespace capstan::writers {

// The roots that the rows on `bytes` name, as far as these lie on the page; nothing if its first
// row is none of a schema. Other tables may have rows that look like it. REQUIRES: a table leaf
// that is sane.
std::optional<std::vector<SqliteRoot>> SchemaRootsOn(const BtreeBytes& bytes);

}  // namespace capstan::writers
