#include "server/writers/postgres/cluster_files.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <limits>
#include <memory>
#include <set>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

namespace capstan::writers {
namespace {

// Relative to the data directory. Folders stay, empty.
constexpr std::array<std::string_view, 8> kEmptyFolders = {
    "pg_wal",    "pg_replslot",  "pg_dynshmem", "pg_notify",
    "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"};
constexpr std::string_view kArchiveStatusFolder = "pg_wal/archive_status";
constexpr std::string_view kTablespaceFolder = "pg_tblspc/";
constexpr std::uint32_t kDefaultTablespaceOid = 1663;
constexpr std::uint32_t kGlobalTablespaceOid = 1664;
// In any folder.
constexpr std::array<std::string_view, 12> kExcludedFiles = {
    "postmaster.pid",           "postmaster.opts", "current_logfiles", "current_logfiles.tmp",
    "postgresql.auto.conf.tmp", "backup_label",    "backup_label.old", "tablespace_map",
    "tablespace_map.old",       "backup_manifest", "standby.signal",   "recovery.signal"};
constexpr std::string_view kRelationCachePrefix = "pg_internal.init";
constexpr std::string_view kTemporaryPrefix = "pgsql_tmp";
constexpr std::string_view kControlFile = "global/pg_control";

struct Names {
  std::vector<std::string> files;
  std::vector<std::string> folders;
};

bool IsTemporaryRelation(std::string_view name) {
  if (!name.starts_with('t')) {
    return false;
  }
  const std::size_t underscore = name.find('_');
  return underscore > 1 && underscore != std::string_view::npos &&
         std::ranges::all_of(name.substr(1, underscore - 1),
                             [](char c) { return c >= '0' && c <= '9'; }) &&
         underscore + 1 < name.size() && name[underscore + 1] >= '0' && name[underscore + 1] <= '9';
}

bool IsExcludedFile(const std::string& folder, std::string_view name) {
  return std::ranges::find(kExcludedFiles, name) != kExcludedFiles.end() ||
         name.starts_with(kRelationCachePrefix) || name.starts_with(kTemporaryPrefix) ||
         (folder.empty() ? std::string(name) : folder + "/" + std::string(name)) == kControlFile;
}

std::optional<std::uint32_t> ParseNumber(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && !text.starts_with('0') ? std::optional(value) : std::nullopt;
}

// base/<oid>, global, or <version>/<oid> in a tablespace.
std::optional<PostgresDatabaseFolder> RelationsOf(const ClusterRoot& place,
                                                  const std::string& folder) {
  const bool is_tablespace = place.tablespace_oid != 0;
  if (!is_tablespace && folder == "global") {
    return PostgresDatabaseFolder{.tablespace_oid = kGlobalTablespaceOid, .database_oid = 0};
  }
  // A tablespace in the data directory itself: pg_tblspc/<oid>/<version>/<database>.
  if (!is_tablespace && folder.starts_with(kTablespaceFolder)) {
    const auto rest = std::string_view(folder).substr(kTablespaceFolder.size());
    const auto tablespace = ParseNumber(rest.substr(0, rest.find('/')));
    const auto database = ParseNumber(rest.substr(rest.rfind('/') + 1));
    return std::ranges::count(rest, '/') == 2 && tablespace && database
               ? std::optional(PostgresDatabaseFolder{*tablespace, *database})
               : std::nullopt;
  }
  const std::string parent = (is_tablespace ? place.only_folder : "base") + "/";
  const auto database = folder.starts_with(parent)
                            ? ParseNumber(std::string_view(folder).substr(parent.size()))
                            : std::nullopt;
  if (!database) {
    return std::nullopt;
  }
  return PostgresDatabaseFolder{is_tablespace ? place.tablespace_oid : kDefaultTablespaceOid,
                                *database};
}

// nullopt: the folder has vanished. Symbolic links and the like are of no interest.
Result<std::optional<Names>> ReadNames(int parent_fd, const std::string& folder,
                                       struct stat* info) {
  const std::string path = folder.empty() ? "." : folder;
  // pg_wal may be a symbolic link; nothing is read in it here.
  const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (folder == "pg_wal" ? 0 : O_NOFOLLOW);
  UniqueFd fd(::openat(parent_fd, path.c_str(), flags));
  if (!fd.valid()) {
    if (errno == ENOENT) {
      return std::optional<Names>();
    }
    return OsError(errno, "folder " + path);
  }
  if (::fstat(fd.get(), info) != 0) {
    return OsError(errno, "folder " + path);
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd.Release()), &::closedir);
  Names names;
  while (const dirent* const entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    unsigned char type = entry->d_type;
    if (name == "." || name == "..") {
      continue;
    }
    if (type == DT_UNKNOWN) {
      struct stat leaf {};
      if (::fstatat(::dirfd(stream.get()), entry->d_name, &leaf, AT_SYMLINK_NOFOLLOW) == 0) {
        type = S_ISREG(leaf.st_mode) ? DT_REG : S_ISDIR(leaf.st_mode) ? DT_DIR : DT_LNK;
      }
    }
    const bool is_wal = folder.empty() && name == "pg_wal";
    if (type == DT_REG) {
      names.files.emplace_back(name);
    } else if (type == DT_DIR || (type == DT_LNK && is_wal)) {
      names.folders.emplace_back(name);
    }
  }
  std::ranges::sort(names.files);
  std::ranges::sort(names.folders);
  return std::optional(std::move(names));
}

// All forks of a relation that has an init fork go, except that one: it is unlogged, and recovery
// makes it anew.
void AddRelationFolder(const std::vector<std::string>& names, ClusterFolder* folder) {
  std::set<std::uint32_t> unlogged;
  for (const std::string& name : names) {
    const auto relation = ParseRelationFile(name);
    if (relation && relation->fork == RelationFork::kInit) {
      unlogged.insert(relation->number);
    }
  }
  for (const std::string& name : names) {
    const auto relation = ParseRelationFile(name);
    const bool goes =
        relation && relation->fork != RelationFork::kInit && unlogged.contains(relation->number);
    if (!goes && !IsTemporaryRelation(name) && !IsExcludedFile(folder->path, name)) {
      folder->files.push_back({.name = name, .relation = relation});
    }
  }
  // A relation's forks and segments one after the other, in their order; before them, in that of
  // their names, what is none.
  std::ranges::stable_sort(folder->files, [](const ClusterFile& a, const ClusterFile& b) {
    return a.relation < b.relation;
  });
}

bool IsLeftEmpty(const ClusterRoot& place, const std::string& path) {
  if (!place.only_folder.empty()) {
    return false;
  }
  return std::ranges::find(kEmptyFolders, path) != kEmptyFolders.end() ||
         path == kArchiveStatusFolder;
}

bool IsWantedFolder(const ClusterRoot& place, const std::string& parent, const std::string& name) {
  const std::string path = parent.empty() ? name : parent + "/" + name;
  if (parent.empty() && !place.only_folder.empty()) {
    return name == place.only_folder;
  }
  if (IsLeftEmpty(place, parent)) {
    return path == kArchiveStatusFolder;
  }
  return !name.starts_with(kTemporaryPrefix) &&
         std::ranges::find(place.not_folders, path) == place.not_folders.end();
}

}  // namespace

std::optional<RelationFile> ParseRelationFile(std::string_view name) {
  RelationFile file;
  const std::size_t dot = name.find('.');
  if (dot != std::string_view::npos) {
    const auto segment = ParseNumber(name.substr(dot + 1));
    if (!segment) {
      return std::nullopt;
    }
    file.segment = *segment;
    name = name.substr(0, dot);
  }
  const std::size_t underscore = name.find('_');
  if (underscore != std::string_view::npos) {
    const std::string_view fork = name.substr(underscore);
    if (fork == "_fsm") {
      file.fork = RelationFork::kFreeSpaceMap;
    } else if (fork == "_vm") {
      file.fork = RelationFork::kVisibilityMap;
    } else if (fork == "_init") {
      file.fork = RelationFork::kInit;
    } else {
      return std::nullopt;
    }
    name = name.substr(0, underscore);
  }
  const auto number = ParseNumber(name);
  if (!number) {
    return std::nullopt;
  }
  file.number = *number;
  return file;
}

Result<ClusterRoot> OpenClusterRoot(const std::string& root) {
  UniqueFd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) {
    return ClusterRoot{.root = root, .fd = std::move(fd)};
  }
  Status status = OsError(errno, fmt::format("'{}' cannot be read", root));
  if (status.code() == Code::kPermissionDenied) {
    return std::move(status).WithHint(
        "run capstand as root or as the user that PostgreSQL runs as: the files of a cluster are "
        "read directly");
  }
  if (status.code() == Code::kNotFound) {
    return std::move(status).WithHint(
        "capstand must run on the host of the cluster: its files are read directly");
  }
  return status;
}

Result<std::vector<ClusterFolder>> ListClusterFolders(const ClusterRoot& place) {
  std::vector<ClusterFolder> folders;
  std::vector<std::string> waiting = {""};
  while (!waiting.empty()) {
    ClusterFolder folder{.path = std::move(waiting.back())};
    waiting.pop_back();
    struct stat info {};
    auto read = ReadNames(place.fd.get(), folder.path, &info);
    if (!read.ok()) {
      return Annotate(std::move(read).status(), place.root);
    }
    if (!*read) {
      continue;
    }
    const Names& names = **read;
    folder.mode = static_cast<std::uint16_t>(info.st_mode & 07777);
    folder.relations_of = RelationsOf(place, folder.path);
    const bool only_passing = folder.path.empty() && !place.only_folder.empty();
    if (folder.relations_of) {
      AddRelationFolder(names.files, &folder);
    } else if (!IsLeftEmpty(place, folder.path) && !only_passing) {
      for (const std::string& name : names.files) {
        if (!IsExcludedFile(folder.path, name)) {
          folder.files.push_back({.name = name});
        }
      }
    }
    for (auto name = names.folders.rbegin(); name != names.folders.rend(); ++name) {
      if (IsWantedFolder(place, folder.path, *name)) {
        waiting.push_back(folder.path.empty() ? *name : folder.path + "/" + *name);
      }
    }
    folders.push_back(std::move(folder));
  }
  return folders;
}

}  // namespace capstan::writers
