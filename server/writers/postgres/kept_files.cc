#include "server/writers/postgres/kept_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include "server/writers/page_cache_guard.h"
#include "server/writers/positioned_io.h"
#include "server/writers/postgres/page_checksum.h"
#include "vdi/base/aligned_bytes.h"
#include "vdi/base/check.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

constexpr std::size_t kCompareBytes = 256 << 10;  // whole pages, and fits the processor's cache

ByteRanges::Range RangeOf(const BundleEntry& entry) {
  return {entry.offset, entry.offset + entry.length};
}

}  // namespace

// One bundle, compared with the files of a place.
class KeptFiles::Comparison {
 public:
  Comparison(const Options& options, std::uint32_t place)
      : options_(options), place_((*options.places)[place]) {}

  // False: the file is another one now, or the backup would copy it in another way.
  Result<bool> IsAsNow(const Claim& claim) {
    CAPSTAN_ASSIGN_OR_RETURN(const UniqueFd fd, Open(claim));
    if (!fd.valid()) {
      return false;
    }
    const BundleEntry& entry = claim.part->entry;
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) {
      return OsError(errno, NameOf(claim));
    }
    const auto size = static_cast<std::uint64_t>(info.st_size);
    // Of nothing there is an entry only if the file is empty.
    const bool fits = claim.file->relation && entry.length != 0
                          ? entry.offset + entry.length <= size
                          : entry.offset == 0 && entry.length == size;
    if (!S_ISREG(info.st_mode) || !fits || (info.st_mode & 07777) != entry.mode) {
      return false;
    }
    return entry.length == 0 ? Result<bool>(true) : HasBytes(claim, fd.get());
  }

 private:
  std::string NameOf(const Claim& claim) const {
    return place_.root + "/" + claim.part->entry.path;
  }

  // Not valid: there is no such file any more.
  Result<UniqueFd> Open(const Claim& claim) {
    if (claim.folder != folder_) {
      const std::string path = claim.folder->path.empty() ? "." : claim.folder->path;
      folder_fd_.Reset(
          ::openat(place_.fd.get(), path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
      folder_ = claim.folder;
      if (!folder_fd_.valid() && errno != ENOENT) {
        return OsError(errno, place_.root + "/" + claim.folder->path);
      }
    }
    UniqueFd fd;
    if (folder_fd_.valid()) {
      fd.Reset(
          ::openat(folder_fd_.get(), claim.file->name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      if (!fd.valid() && errno != ENOENT) {
        return OsError(errno, NameOf(claim));
      }
    }
    return fd;
  }

  Result<bool> HasBytes(const Claim& claim, int fd) {
    const BundleEntry& entry = claim.part->entry;
    PageCacheVisit visit(fd, RangeOf(entry), options_.drop_page_cache_behind);
    for (std::uint64_t done = 0; done < entry.length;) {
      const auto found = scratch_.span().first(
          static_cast<std::size_t>(std::min<std::uint64_t>(kCompareBytes, entry.length - done)));
      visit.Advance(entry.offset + done);
      CAPSTAN_RETURN_IF_ERROR(Annotate(ReadOrZero(fd, entry.offset + done, found), NameOf(claim)));
      const bool same =
          entry.kind == BundleEntry::Kind::kZeros
              ? IsAllZero(found)
              : std::memcmp(found.data(),
                            claim.part->bytes.subspan(static_cast<std::size_t>(done)).data(),
                            found.size()) == 0;
      if (!same) {
        return false;
      }
      CAPSTAN_ASSIGN_OR_RETURN(const bool right,
                               ArePagesRight(claim, fd, entry.offset + done, found));
      if (!right) {
        return false;
      }
      done += found.size();
    }
    return true;
  }

  // A page that is not right is none to be kept: it will be read again, and judged as every other,
  // and told of once.
  Result<bool> ArePagesRight(const Claim& claim, int fd, std::uint64_t offset,
                             std::span<const std::byte> bytes) const {
    if (options_.verifier == nullptr || !claim.file->relation) {
      return true;
    }
    return options_.verifier->AreRight(
        {.physical_name = NameOf(claim),
         .fd = fd,
         .first_block = claim.file->relation->segment * options_.relation_segment_blocks},
        offset, bytes);
  }

  const Options& options_;
  const ClusterRoot& place_;
  const ClusterFolder* folder_ = nullptr;  // of folder_fd_
  UniqueFd folder_fd_;
  const AlignedBytes scratch_{kCompareBytes};
};

KeptFiles::KeptFiles(const Options& options)
    : options_(options), folders_(options.folders->size()), bundles_(options.folders->size()) {
  for (std::size_t place = 0; place < folders_.size(); ++place) {
    for (const ClusterFolder& folder : (*options_.folders)[place]) {
      folders_[place].emplace(folder.path, &folder);
    }
  }
}

std::optional<KeptFiles::Claim> KeptFiles::ClaimOf(std::uint32_t place,
                                                   const BundlePart& part) const {
  const std::string_view path = part.entry.path;
  const std::size_t slash = path.rfind('/');
  const bool in_root = slash == std::string_view::npos;
  const auto folder = folders_[place].find(in_root ? "" : path.substr(0, slash));
  if (part.entry.kind == BundleEntry::Kind::kManifest || folder == folders_[place].end()) {
    return std::nullopt;
  }
  // In the order of cluster_files.cc.
  const std::string_view name = in_root ? path : path.substr(slash + 1);
  const auto relation = folder->second->relations_of ? ParseRelationFile(name) : std::nullopt;
  const auto file = std::ranges::lower_bound(
      folder->second->files, std::pair(relation, name), {}, [](const ClusterFile& leaf) {
        return std::pair(leaf.relation, std::string_view(leaf.name));
      });
  if (file == folder->second->files.end() || file->name != name) {
    return std::nullopt;
  }
  return Claim{.part = &part, .folder = folder->second, .file = &*file};
}

std::optional<std::vector<KeptFiles::Claim>> KeptFiles::ClaimsOf(
    std::uint32_t place, const std::vector<BundlePart>& parts) const {
  Files files;
  std::vector<Claim> claims;
  claims.reserve(parts.size());
  for (const BundlePart& part : parts) {
    const std::optional<Claim> claim = ClaimOf(place, part);
    if (!claim || !IsFree(files, *claim)) {
      return std::nullopt;
    }
    Take(files, *claim);
    claims.push_back(*claim);
  }
  return claims;
}

bool KeptFiles::IsFree(const Files& files, const Claim& claim) {
  const auto found = files.find(claim.file);
  if (found == files.end()) {
    return true;
  }
  const BundleEntry& entry = claim.part->entry;
  return !found->second.whole && entry.length != 0 &&
         !found->second.ranges.Overlaps(RangeOf(entry));
}

void KeptFiles::Take(Files& files, const Claim& claim) {
  const BundleEntry& entry = claim.part->entry;
  File& file = files[claim.file];
  if (!claim.file->relation) {
    file.whole = {.mode = entry.mode, .size_bytes = entry.length};
  } else if (entry.length != 0) {
    CAPSTAN_CHECK(file.ranges.Add(RangeOf(entry)));
  }
}

bool KeptFiles::AreFree(const Extent& extent, const std::vector<Claim>& claims) const {
  for (const Claim& claim : claims) {
    if (!IsFree(files_, claim)) {
      return false;
    }
  }
  return !bundles_[extent.file_index].Overlaps({extent.offset, extent.offset + extent.length});
}

Result<bool> KeptFiles::Keep(const Extent& extent, std::span<const std::byte> bytes) {
  if (extent.file_index >= folders_.size() || extent.length != bytes.size() ||
      extent.offset > std::numeric_limits<std::uint64_t>::max() - extent.length) {
    return false;
  }
  const auto parts = DecodeBundle(bytes);
  if (!parts.ok()) {
    return false;
  }
  const auto claims = ClaimsOf(extent.file_index, *parts);
  if (!claims) {
    return false;
  }
  {
    const MutexLock lock(mutex_);
    if (sealed_) {
      return Error(Code::kFailedPrecondition, "something to be kept, but extents are being read");
    }
    if (!AreFree(extent, *claims)) {
      return false;
    }
  }
  Comparison comparison(options_, extent.file_index);
  for (const Claim& claim : *claims) {
    CAPSTAN_ASSIGN_OR_RETURN(const bool same, comparison.IsAsNow(claim));
    if (!same) {
      return false;
    }
  }
  const MutexLock lock(mutex_);
  if (!AreFree(extent, *claims)) {
    return false;  // another thread was given some of it as well
  }
  CAPSTAN_CHECK(bundles_[extent.file_index].Add({extent.offset, extent.offset + extent.length}));
  for (const Claim& claim : *claims) {
    Take(files_, claim);
  }
  return true;
}

void KeptFiles::Seal() {
  const MutexLock lock(mutex_);
  sealed_ = true;
}

const KeptFiles::File* KeptFiles::Find(const ClusterFile& file) const {
  const MutexLock lock(mutex_);
  CAPSTAN_CHECK(sealed_);
  const auto found = files_.find(&file);
  return found != files_.end() ? &found->second : nullptr;
}

}  // namespace capstan::writers
