// What `capstan list` asks for and how it lays the answer out; `status` and `top` show parts of it.
#pragma once

#include <span>
#include <string>

#include "tools/capstan/commands/commands.h"
#include "tools/capstan/row_reader.h"

namespace capstan::cli {

std::string ListStatement(ListSubject subject);
// Empty for devices and writers, which are not tables.
std::span<const ColumnView> ListColumns(ListSubject subject);
// As "vssadmin list writers" prints them: blocks of five lines, an empty line between.
std::string FormatWriters(const ResultSet& writers);

}  // namespace capstan::cli
