// BACKUP DATABASES [a, b*] TO ...: which databases that are, and the statement for each of them.
// Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/tsql/statement.h"

namespace capstan::coordinator {

struct ChosenDatabase {
  std::string name;
  bool by_pattern = false;  // only a pattern, or EXCLUDE, speaks of it
};

// In the order of `known`; then names that are not known, for their backups to say so.
std::vector<ChosenDatabase> ChooseDatabases(const tsql::BackupStatement& backup,
                                            std::span<const std::string> known);

// For one of them. In names of devices <database>, <type> (FULL, DIFF, LOG), <server> and
// <datetime> (yyyymmddhhnnss, local time) stand for what they say, whatever their case. Where all
// databases share their media, INIT and FORMAT are for the first of them alone.
struct BackupTags {
  std::string server;
  std::int64_t unix_s = 0;
  bool first = true;
};
tsql::BackupStatement StatementFor(const tsql::BackupStatement& several,
                                   const std::string& database, const BackupTags& tags);

}  // namespace capstan::coordinator
