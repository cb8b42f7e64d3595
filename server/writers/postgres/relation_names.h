// RelationNames: what a relation's file is called in SQL, so that a person knows which table has
// the damaged page.
//
// Asked of the server, in a connection of its own to the database in question; a server that cannot
// be asked just gives no name. Threads: any.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "server/writers/postgres/postgres_set.h"
#include "vdi/base/mutex.h"

namespace capstan::writers {

class RelationNames {
 public:
  // Of the cluster at `location`, as `set` describes it.
  RelationNames(std::string location, PostgresSet set)
      : location_(std::move(location)), set_(std::move(set)) {}

  // "public.orders in database shop", or nothing.
  std::string NameOf(const std::string& physical_name) CAPSTAN_EXCLUDES(mutex_);

 private:
  struct Place {
    PostgresDatabaseFolder folder;
    std::uint32_t relation = 0;
  };
  std::optional<Place> PlaceOf(const std::string& physical_name) const;
  std::string Ask(const Place& place) const;

  const std::string location_;
  const PostgresSet set_;

  Mutex mutex_;
  std::map<std::string, std::string> names_ CAPSTAN_GUARDED_BY(mutex_);  // by physical name
};

}  // namespace capstan::writers
