// Flips single bits in copies of SQL Server's media, in memory: verification finds each, or what
// the server lists is as before, or the bit is of a field that the format says once and protects
// nowhere (kUnprotected). Anything else is an invented value.
//
//   sqlserver_media_flips [--all] MEDIA_PASSWORD FILE...
//
// Every bit of the headers of the smallest file, and in each other as many as its share of half a
// gigabyte of reading allows; --all: every bit of all headers, and a thousand others of each file.
// Exit status 1 if a value was invented.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "server/coordinator/listings.h"
#include "server/media/mtf_values.h"
#include "server/media/sqlserver/container.h"
#include "server/media/sqlserver/sqlserver_layout.h"
#include "server/media/sqlserver/verifier.h"

namespace {

using namespace capstan;         // NOLINT(google-build-using-namespace): the whole program
using namespace capstan::media;  // NOLINT(google-build-using-namespace): likewise

// Bytes that all short runs together may look at.
constexpr std::uint64_t kShortWork = 500'000'000;
constexpr std::size_t kOthersOfAll = 1000;

// What nothing repeats: fields of TAPE behind its header and of RAID where there is one family,
// OS-specific data of SSET, and of a configuration what only the one at the end says.
const std::set<std::string> kUnprotected = {
    // TAPE and RAID
    "MediaName", "MediaDescription", "MediaLabelPresent", "MediaDate", "SoftwareName", "MediaSetId",
    "FamilyCount", "FamilySequenceNumber", "Mirror_Count",
    // SSET
    "BackupSetGUID", "ExpirationDate",
    // SCIN
    "DatabaseBackupLSN", "FirstLSN", "LastLSN", "CheckpointLSN", "ForkPointLSN",
    "FirstRecoveryForkID", "DifferentialBaseLSN", "DifferentialBaseGUID", "CompressedBackupSize",
    "UnicodeLocaleId", "UnicodeComparisonStyle", "SortOrder", "BackupFinishDate", "Flags",
    "BeginsLogChain", "RecoveryModel", "SoftwareVersionMinor", "HasBulkLoggedData", "IsReadOnly",
    "IsSingleUser", "HasBackupChecksums", "IsDamaged", "HasIncompleteMetaData", "IsForceOffline",
    "IsCopyOnly", "IsSnapshot",
    // SFIN
    "Size", "MaxSize", "CreateLSN", "DropLSN", "ReadOnlyLSN", "ReadWriteLSN", "BackupSizeInBytes",
    "SourceBlockSize", "FileGroupId", "IsPresent"};

class BytesSource final : public MediumSource {
 public:
  explicit BytesSource(Bytes bytes) : bytes_(bytes) {}
  const std::string& device_name() const override { return name_; }
  std::uint64_t size_bytes() const override { return bytes_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> target) override {
    const std::size_t start = std::min<std::uint64_t>(offset, bytes_.size());
    const std::size_t size = std::min(target.size(), bytes_.size() - start);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(start), size, target.begin());
    return size;
  }

 private:
  const std::string name_ = "dev";
  const Bytes bytes_;
};

// Every value that is listed, by its column.
using Said = std::multimap<std::string, std::string>;

void Add(const catalog::Table& table, Said* said) {
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      said->emplace(table.columns[i].name, row[i].value_or("NULL"));
    }
  }
}

Result<Said> Listed(Bytes bytes, std::uint16_t* sets = nullptr) {
  BytesSource source(bytes);
  CAPSTAN_ASSIGN_OR_RETURN(const MediumListing listing, ReadListing(source));
  Said said;
  Add(coordinator::LabelOnlyTable(listing.header), &said);
  Add(coordinator::HeaderOnlyTable(listing, {}), &said);
  for (const SetListing& set : listing.sets) {
    Add(coordinator::FileListTable(set), &said);
  }
  if (sets != nullptr) {
    *sets = static_cast<std::uint16_t>(listing.sets.size());
  }
  return said;
}

// Offsets of the bytes of blocks, stream headers and filemarks of a plain medium; of a container,
// of the header and the heads of its records.
std::vector<std::size_t> HeaderBytes(Bytes bytes) {
  std::vector<std::size_t> offsets;
  const auto add = [&](std::size_t from, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      offsets.push_back(from + i);
    }
  };
  if (sqlserver::IsContainer(bytes)) {
    add(0, sqlserver::kFirstRecord + sizeof(sqlserver::ContainerRecord));
    return offsets;
  }
  std::size_t at = 0;
  std::size_t origin = 0;
  while (at + sizeof(BlockHeader) <= bytes.size()) {
    const auto block = LoadStruct<BlockHeader>(bytes.subspan(at));
    add(at, block.first_event_offset);
    at += block.first_event_offset;
    if (block.type == BlockType::kSoftFilemark) {
      origin = at;
      continue;
    }
    for (bool more = true; more;) {
      at = origin + RoundUp(at - origin, 4);
      const auto stream = LoadStruct<StreamHeader>(bytes.subspan(at));
      add(at, sizeof(stream));
      at += sizeof(stream) + stream.length;
      more = stream.type != StreamType::kPad;
    }
  }
  return offsets;
}

class Flipper {
 public:
  Flipper(std::string path, std::string password, std::vector<std::byte> bytes)
      : path_(std::move(path)), password_(std::move(password)), bytes_(std::move(bytes)) {}

  // False if the medium is not sound to begin with.
  bool Prepare() {
    Result<Said> said = Listed(bytes_, &sets_);
    if (!said.ok() || !Verify().ok()) {
      fmt::print("{}: not sound: {}\n", path_, said.ok() ? Verify().ToString() : "listing");
      return false;
    }
    said_ = std::move(said).value();
    return true;
  }

  std::size_t size() const { return bytes_.size(); }
  std::vector<std::size_t> headers() const { return HeaderBytes(bytes_); }

  void Flip(std::size_t offset, int bit) {
    bytes_[offset] ^= static_cast<std::byte>(1 << bit);
    const Result<Said> said = Listed(bytes_);
    if (!said.ok() || !Verify().ok()) {
      ++found_;
    } else if (said.value() == said_) {
      ++harmless_;
    } else {
      Judge(said.value(), offset, bit);
    }
    bytes_[offset] ^= static_cast<std::byte>(1 << bit);
  }

  bool Report() const {
    fmt::print("{}: {} found, {} change nothing that is listed, {} of unprotected fields\n", path_,
               found_, harmless_, unprotected_);
    return invented_ == 0;
  }

 private:
  Status Verify() {
    BytesSource source(bytes_);
    return sqlserver::VerifyFamily(source, {.position = sets_, .media_password = password_})
        .status();
  }

  void Judge(const Said& said, std::size_t offset, int bit) {
    ++unprotected_;
    std::vector<std::pair<std::string, std::string>> changed;
    std::set_difference(said.begin(), said.end(), said_.begin(), said_.end(),
                        std::back_inserter(changed));
    for (const auto& [column, value] : changed) {
      if (!kUnprotected.contains(column)) {
        ++invented_;
        fmt::print("{}: byte {} bit {}: {} became {}\n", path_, offset, bit, column, value);
      }
    }
  }

  const std::string path_;
  const std::string password_;
  std::vector<std::byte> bytes_;
  std::uint16_t sets_ = 0;
  Said said_;
  int found_ = 0;
  int harmless_ = 0;
  int unprotected_ = 0;
  int invented_ = 0;
};

void FlipEvery(const std::vector<std::size_t>& offsets, Flipper* flipper) {
  for (const std::size_t offset : offsets) {
    for (int bit = 0; bit < 8; ++bit) {
      flipper->Flip(offset, bit);
    }
  }
}

// Half of them in headers.
void FlipSome(std::size_t count, std::mt19937* random, Flipper* flipper) {
  const std::vector<std::size_t> headers = flipper->headers();
  for (std::size_t i = 0; i < count; ++i) {
    const bool in_header = i % 2 == 0;
    const std::size_t offset =
        in_header ? headers[(*random)() % headers.size()] : (*random)() % flipper->size();
    flipper->Flip(offset, static_cast<int>((*random)() % 8));
  }
}

std::vector<std::byte> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool all = !arguments.empty() && arguments.front() == "--all";
  arguments.erase(arguments.begin(), arguments.begin() + (all ? 1 : 0));
  if (arguments.size() < 2) {
    std::fputs("usage: sqlserver_media_flips [--all] MEDIA_PASSWORD FILE...\n", stderr);
    return 2;
  }
  std::vector<Flipper> flippers;
  bool well = true;
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    flippers.emplace_back(arguments[i], arguments[0], ReadFile(arguments[i]));
    well = flippers.back().Prepare() && well;
  }
  const auto smallest =
      std::min_element(flippers.begin(), flippers.end(),
                       [](const Flipper& a, const Flipper& b) { return a.size() < b.size(); });
  std::mt19937 random(42);
  if (!well) {
    return 1;
  }
  for (auto flipper = flippers.begin(); flipper != flippers.end(); ++flipper) {
    if (all || flipper == smallest) {
      FlipEvery(flipper->headers(), &*flipper);
    }
    const std::uint64_t share = kShortWork / flippers.size() / flipper->size();
    FlipSome(all ? kOthersOfAll : std::clamp<std::uint64_t>(share, 10, 1000), &random, &*flipper);
    well = flipper->Report() && well;
  }
  return well ? 0 : 1;
}
