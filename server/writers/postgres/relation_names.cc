#include "server/writers/postgres/relation_names.h"

#include <charconv>
#include <string_view>

#include <fmt/format.h>

#include "server/writers/postgres/cluster_files.h"
#include "server/writers/postgres/postgres_connection.h"

namespace capstan::writers {
namespace {

constexpr std::uint32_t kDefaultTablespaceOid = 1663;
constexpr std::uint32_t kGlobalTablespaceOid = 1664;

std::uint32_t NumberIn(std::string_view text) {
  std::uint32_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

std::string RelationNames::NameOf(const std::string& physical_name) {
  {
    MutexLock lock(mutex_);
    if (const auto known = names_.find(physical_name); known != names_.end()) {
      return known->second;
    }
  }
  const std::optional<Place> place = PlaceOf(physical_name);
  std::string name = place ? Ask(*place) : "";
  MutexLock lock(mutex_);
  names_.emplace(physical_name, name);
  return name;
}

// <root>/base/<database>/<file>, <root>/global/<file>, <tablespace>/<version>/<database>/<file>.
std::optional<RelationNames::Place> RelationNames::PlaceOf(const std::string& physical_name) const {
  const std::size_t file_begin = physical_name.rfind('/');
  if (file_begin == std::string::npos) {
    return std::nullopt;
  }
  const auto relation = ParseRelationFile(std::string_view(physical_name).substr(file_begin + 1));
  const std::string folder = physical_name.substr(0, file_begin);
  if (!relation) {
    return std::nullopt;
  }
  if (folder == set_.data_directory + "/global") {
    return Place{.folder = {kGlobalTablespaceOid, 0}, .relation = relation->number};
  }
  Place place{.folder = {kDefaultTablespaceOid,
                         NumberIn(std::string_view(folder).substr(folder.rfind('/') + 1))},
              .relation = relation->number};
  for (const PostgresTablespace& tablespace : set_.tablespaces) {
    if (folder.starts_with(tablespace.location + "/PG_")) {
      place.folder.tablespace_oid = tablespace.oid;
    }
  }
  return place;
}

std::string RelationNames::Ask(const Place& place) const {
  auto connection = PostgresConnection::Connect({.location = location_});
  std::string database;
  if (connection.ok() && place.folder.database_oid != 0) {
    const auto rows = connection->Query(
        fmt::format("SELECT datname FROM pg_database WHERE datallowconn AND oid = {}",
                    place.folder.database_oid));
    if (!rows.ok() || rows->size() == 0) {
      return "";
    }
    database = rows->Text(0, 0);
    connection = PostgresConnection::Connect({.location = location_, .database = database});
  }
  if (!connection.ok()) {
    return "";
  }
  const auto rows =
      connection->Query(fmt::format("SELECT pg_filenode_relation({}, {})::regclass::text",
                                    place.folder.tablespace_oid, place.relation));
  if (!rows.ok() || rows->size() == 0 || rows->Text(0, 0).empty()) {
    return "";
  }
  return rows->Text(0, 0) + (database.empty() ? "" : " in database " + database);
}

}  // namespace capstan::writers
