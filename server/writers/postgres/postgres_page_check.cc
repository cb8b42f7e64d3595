#include "server/writers/postgres/postgres_page_check.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "server/writers/postgres/cluster_files.h"
#include "server/writers/postgres/page_checksum.h"
#include "server/writers/postgres/page_verifier.h"
#include "server/writers/postgres/pg_control.h"
#include "server/writers/postgres/wal_format.h"

namespace capstan::writers {
namespace {

constexpr std::uint64_t kRelationSegmentBytes = std::uint64_t{1} << 30;
// Of pages that are wrong in a cluster of which nothing is known; more are not worth their memory.
constexpr std::size_t kDoubtsMax = 1 << 20;

// "START WAL LOCATION: 0/3000028 (file ...)", the first line of backup_label.
std::optional<Lsn> StartOf(std::span<const std::byte> label) {
  constexpr std::string_view kBegin = "START WAL LOCATION: ";
  const std::string_view text(reinterpret_cast<const char*>(label.data()), label.size());
  if (!text.starts_with(kBegin)) {
    return std::nullopt;
  }
  const std::string_view rest = text.substr(kBegin.size());
  return ParsePostgresLsn(rest.substr(0, rest.find(' ')));
}

std::string_view LeafName(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

// Whether the folder is one of relations: base/<oid>, global, <version>/<oid>.
bool IsRelationPath(std::string_view path) {
  return path.starts_with("base/") || path.starts_with("global/") || path.starts_with("PG_") ||
         path.starts_with("pg_tblspc/");
}

}  // namespace

Result<std::unique_ptr<PageCheck>> PostgresPageCheck::Begin(std::span<const DatabaseFile> files,
                                                            PageErrorHandler on_page_error) {
  const bool known = !files.empty() && std::ranges::all_of(files, [](const DatabaseFile& file) {
    return file.page_size >= 1024 && file.page_size <= 32768 &&
           (file.page_size & (file.page_size - 1)) == 0;
  });
  if (!known) {
    return Error(Code::kInvalidArgument, "these are not the files of a cluster of PostgreSQL");
  }
  return std::unique_ptr<PageCheck>(new PostgresPageCheck(files, std::move(on_page_error)));
}

Status PostgresPageCheck::Take(const Extent& extent, std::span<const std::byte> bytes) {
  if (extent.file_index >= files_.size() || extent.length != bytes.size()) {
    return Error(Code::kInvalidArgument, "an extent of no file");
  }
  const DatabaseFile& file = files_[extent.file_index];
  CAPSTAN_ASSIGN_OR_RETURN(const std::vector<BundlePart> parts, DecodeBundle(bytes));
  for (const BundlePart& part : parts) {
    if (file.type == 'L') {
      TakeLogPart(part);
    } else if (part.entry.kind == BundleEntry::Kind::kFile) {
      TakePages(file, part);
    }
  }
  return OkStatus();
}

void PostgresPageCheck::TakePages(const DatabaseFile& file, const BundlePart& part) {
  const std::string& path = part.entry.path;
  const auto relation = ParseRelationFile(LeafName(path));
  if (!relation || !IsRelationPath(path) || part.entry.offset % file.page_size != 0) {
    return;
  }
  const std::uint32_t segment_blocks =
      static_cast<std::uint32_t>(kRelationSegmentBytes / file.page_size);
  auto block = relation->segment * segment_blocks +
               static_cast<std::uint32_t>(part.entry.offset / file.page_size);
  for (auto rest = part.bytes; rest.size() >= file.page_size;
       rest = rest.subspan(file.page_size), ++block) {
    const auto page = rest.first(file.page_size);
    std::optional<std::string> fault = FindPageFault(page, block, true);
    if (!fault) {
      continue;
    }
    MutexLock lock(mutex_);
    if (doubts_.size() < kDoubtsMax) {
      // Without checksums a page is judged by its header alone.
      doubts_.push_back({.error = {.file_id = file.file_id,
                                   .page = block,
                                   .file = file.physical_name + "/" + path,
                                   .cause = *std::move(fault)},
                         .lsn = ReadDataPageHeader(page).lsn,
                         .without_checksums = !FindPageFault(page, block, false).has_value()});
    }
  }
}

void PostgresPageCheck::TakeLogPart(const BundlePart& part) {
  if (part.entry.offset != 0) {
    return;
  }
  MutexLock lock(mutex_);
  if (part.entry.path == "backup_label") {
    start_ = StartOf(part.bytes);
  } else if (part.entry.path == "global/pg_control") {
    const auto control = ParsePgControl(part.bytes);
    checksums_ = !control.ok() || control->data_checksums;
  }
}

// A page whose file did not come is not looked for.
void PostgresPageCheck::Miss(std::uint32_t /*file_index*/, std::uint64_t /*offset*/,
                             std::uint64_t /*length*/) {}

Status PostgresPageCheck::Finish() {
  std::vector<Doubt> doubts;
  std::optional<Lsn> start;
  bool checksums = true;
  {
    MutexLock lock(mutex_);
    doubts.swap(doubts_);
    start = start_;
    checksums = checksums_;
  }
  std::ranges::sort(
      doubts, {}, [](const Doubt& doubt) { return std::pair(doubt.error.file, doubt.error.page); });
  for (const Doubt& doubt : doubts) {
    const bool is_repaired = !start || doubt.lsn > *start;
    const bool is_right = !checksums && doubt.without_checksums;
    if (!is_repaired && !is_right) {
      CAPSTAN_RETURN_IF_ERROR(on_page_error_(doubt.error));
    }
  }
  return OkStatus();
}

}  // namespace capstan::writers
