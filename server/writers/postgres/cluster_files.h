// Which files a cluster consists of: everything below its data directory and its tablespaces but
// what PostgreSQL documents as of no use in a backup (25.3.3.1), and what this writer hands out
// apart, at the end: WAL, backup_label, tablespace_map, pg_control.
//
// Threads: any; every call stands alone.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/writers/postgres/postgres_set.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

enum class RelationFork { kMain, kFreeSpaceMap, kVisibilityMap, kInit };

// "16384_fsm.2" is fork kFreeSpaceMap, segment 2 of 16384.
struct RelationFile {
  std::uint32_t number = 0;
  RelationFork fork = RelationFork::kMain;
  std::uint32_t segment = 0;
  friend auto operator<=>(const RelationFile&, const RelationFile&) = default;
};
// nullopt: the name is not that of a relation that is to be backed up (a temporary one, "t3_16384",
// is none either).
std::optional<RelationFile> ParseRelationFile(std::string_view name);

struct ClusterFile {
  std::string name;                      // in its folder
  std::optional<RelationFile> relation;  // it consists of pages
};

struct ClusterFolder {
  std::string path;  // relative to the place; empty: the place itself
  std::uint16_t mode = 0700;
  std::vector<ClusterFile> files;  // in order of names
  // Of a folder of relations: whose. Database 0 is what all databases share.
  std::optional<PostgresDatabaseFolder> relations_of;
};

// A data directory, or a tablespace.
struct ClusterRoot {
  std::string root;                  // absolute
  UniqueFd fd;                       // of the root
  std::uint32_t tablespace_oid = 0;  // 0: the data directory
  // Of a tablespace: the only folder in it that is of this cluster's version
  // ("PG_15_202209061"); empty: everything.
  std::string only_folder = "";
  // Folders that are other places, relative to this one.
  std::vector<std::string> not_folders = {};
};

// kPermissionDenied with a hint, kNotFound.
Result<ClusterRoot> OpenClusterRoot(const std::string& root);

// All that is there now, parents first; what vanishes meanwhile is left out.
Result<std::vector<ClusterFolder>> ListClusterFolders(const ClusterRoot& place);

}  // namespace capstan::writers
