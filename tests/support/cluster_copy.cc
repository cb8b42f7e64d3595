#include "tests/support/cluster_copy.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/positioned_io.h"
#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/postgres_set.h"
#include "vdi/base/unique_fd.h"

namespace capstan::test {
namespace {

namespace fs = std::filesystem;
using writers::BundleEntry;
using writers::BundlePart;
using writers::Extent;

struct Reader {
  writers::BackupSession& session;
  const CopyOptions& options;
  std::mutex mutex;  // of everything below, and of NextExtent where volumes are shared
  ClusterSet set;
  Status failure;
  bool told = false;

  Result<std::optional<Extent>> Next(std::uint32_t volume) {
    std::unique_lock<std::mutex> lock(mutex, std::defer_lock);
    if (options.shared_volumes) {
      lock.lock();
    }
    return session.NextExtent(volume, options.extent_bytes_max);
  }

  Status ReadVolume(std::uint32_t volume) {
    while (true) {
      CAPSTAN_ASSIGN_OR_RETURN(const std::optional<Extent> extent, Next(volume));
      if (!extent) {
        return OkStatus();
      }
      std::vector<std::byte> bytes(extent->length);
      for (std::uint32_t at = 0; at < extent->length; at += options.piece_bytes) {
        const std::uint32_t length = std::min(options.piece_bytes, extent->length - at);
        CAPSTAN_RETURN_IF_ERROR(session.ReadExtent(
            {.file_index = extent->file_index, .offset = extent->offset + at, .length = length},
            std::span(bytes).subspan(at, length)));
      }
      std::unique_lock<std::mutex> lock(mutex);
      set.extents.emplace_back(*extent, std::move(bytes));
      if (options.after_first_extent && !std::exchange(told, true)) {
        lock.unlock();
        options.after_first_extent();
      }
    }
  }

  void Run(std::uint32_t volume) {
    Status status = ReadVolume(volume);
    const std::lock_guard<std::mutex> lock(mutex);
    if (failure.ok()) {
      failure = std::move(status);
    }
  }
};

std::string PlaceFolder(const std::string& folder, std::size_t place) {
  return place == 0 ? folder + "/data" : fmt::format("{}/ts{}", folder, place);
}

Status WritePart(const std::string& path, const BundlePart& part) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, part.entry.mode));
  if (!fd.valid()) {
    return OsError(errno, path);
  }
  if (part.entry.kind == BundleEntry::Kind::kZeros) {
    const std::vector<std::byte> zeros(static_cast<std::size_t>(part.entry.length));
    return writers::WriteFully(fd.get(), part.entry.offset, zeros);
  }
  return writers::WriteFully(fd.get(), part.entry.offset, part.bytes);
}

// What the manifest does not know goes, what it knows gets its size.
Status MatchManifest(const writers::ClusterManifest& manifest, const std::string& folder,
                     std::size_t place_count) {
  std::set<std::string> wanted;
  for (const auto& file : manifest.files) {
    const std::string path = PlaceFolder(folder, file.place) + "/" + file.path;
    wanted.insert(path);
    if (::truncate(path.c_str(), static_cast<off_t>(file.size_bytes)) != 0) {
      return OsError(errno, path);
    }
    ::chmod(path.c_str(), file.mode);
  }
  std::vector<fs::path> leftovers;
  for (std::size_t place = 0; place < place_count; ++place) {
    for (const auto& entry : fs::recursive_directory_iterator(PlaceFolder(folder, place))) {
      if (entry.is_regular_file() && !wanted.contains(entry.path().string())) {
        leftovers.push_back(entry.path());
      }
    }
  }
  for (const fs::path& path : leftovers) {
    fs::remove(path);
  }
  std::error_code error;
  for (const auto& directory : manifest.directories) {
    const std::string path = PlaceFolder(folder, directory.place) + "/" + directory.path;
    fs::create_directories(path, error);
    ::chmod(path.c_str(), directory.mode);
  }
  return OkStatus();
}

}  // namespace

std::uint64_t ClusterSet::size_bytes() const {
  std::uint64_t size = 0;
  for (const auto& [extent, bytes] : extents) {
    size += bytes.size();
  }
  return size;
}

Result<ClusterSet> ReadCluster(writers::BackupSession& session, const CopyOptions& options) {
  Reader reader{.session = session, .options = options};
  const auto volumes = static_cast<std::uint32_t>(session.description().volumes.size());
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < volumes * (options.shared_volumes ? 3 : 1); ++i) {
      threads.emplace_back([&reader, i, volumes] { reader.Run(i % volumes); });
    }
  }
  CAPSTAN_RETURN_IF_ERROR(reader.failure);
  CAPSTAN_ASSIGN_OR_RETURN(const bool more, session.BeginTail());
  if (more) {
    CAPSTAN_RETURN_IF_ERROR(reader.ReadVolume(volumes));
  }
  CAPSTAN_RETURN_IF_ERROR(session.End());
  reader.set.description = session.description();
  reader.set.lsns = session.lsns();
  reader.set.recovery_fork = session.recovery_fork();
  reader.set.writer_data = session.writer_data();
  return std::move(reader.set);
}

Result<writers::ClusterManifest> ManifestOf(const ClusterSet& set) {
  std::vector<std::byte> bytes;
  for (const auto& [extent, content] : set.extents) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::vector<BundlePart> parts, writers::DecodeBundle(content));
    for (const BundlePart& part : parts) {
      if (part.entry.kind == BundleEntry::Kind::kManifest) {
        bytes.resize(std::max<std::size_t>(
            bytes.size(), static_cast<std::size_t>(part.entry.offset) + part.bytes.size()));
        std::ranges::copy(part.bytes,
                          bytes.begin() + static_cast<std::ptrdiff_t>(part.entry.offset));
      }
    }
  }
  return writers::DecodeManifest(bytes);
}

Status WriteCluster(const ClusterSet& set, const std::string& folder) {
  const std::size_t log_index = set.description.files.size() - 1;
  CAPSTAN_ASSIGN_OR_RETURN(const writers::PostgresSet facts,
                           writers::DecodePostgresSet(set.writer_data));
  std::error_code error;
  for (std::size_t place = 0; place < log_index; ++place) {
    fs::create_directories(PlaceFolder(folder, place), error);
    fs::permissions(PlaceFolder(folder, place), fs::perms::owner_all, error);
  }
  for (const auto& [extent, bytes] : set.extents) {
    CAPSTAN_ASSIGN_OR_RETURN(const std::vector<BundlePart> parts, writers::DecodeBundle(bytes));
    const std::size_t place = extent.file_index == log_index ? 0 : extent.file_index;
    for (const BundlePart& part : parts) {
      if (part.entry.kind != BundleEntry::Kind::kManifest) {
        CAPSTAN_RETURN_IF_ERROR(
            WritePart(PlaceFolder(folder, place) + "/" + part.entry.path, part));
      }
    }
  }
  CAPSTAN_ASSIGN_OR_RETURN(const writers::ClusterManifest manifest, ManifestOf(set));
  CAPSTAN_RETURN_IF_ERROR(MatchManifest(manifest, folder, log_index));
  // The tablespaces lie elsewhere now, so the map of the old places goes.
  fs::remove(folder + "/data/tablespace_map", error);
  for (std::size_t i = 0; i < facts.tablespaces.size(); ++i) {
    const std::string link = fmt::format("{}/data/pg_tblspc/{}", folder, facts.tablespaces[i].oid);
    fs::remove(link, error);
    fs::create_directory_symlink(PlaceFolder(folder, i + 1), link, error);
    if (error) {
      return Error(Code::kUnknown, "{}: {}", link, error.message());
    }
  }
  return OkStatus();
}

}  // namespace capstan::test
