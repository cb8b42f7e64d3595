#include "server/writers/sqlite/log/base_pages.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "server/writers/durable_file.h"
#include "server/writers/positioned_io.h"

namespace capstan::writers {
namespace {

constexpr std::string_view kPrefix = "base-";
constexpr std::uint64_t kMagic = 0x313053424743;  // "CGBS01"
constexpr std::uint64_t kHeaderBytes = 32;

using Header = std::array<std::uint64_t, 4>;  // magic, page size, seed, hash of these; in any order

std::string PathOf(const std::string& folder, const std::string& id) {
  return fmt::format("{}/{}{}", folder, kPrefix, id);
}

std::uint64_t OffsetOf(std::uint32_t number) {
  return kHeaderBytes + std::uint64_t{number - 1} * sizeof(PageHash);
}

Header MakeHeader(std::uint32_t page_size, std::uint64_t seed) {
  Header header{kMagic, page_size, seed, 0};
  header[3] = HashBytes(std::as_bytes(std::span(header).first(3)));
  return header;
}

}  // namespace

Result<std::shared_ptr<BasePages>> BasePages::Create(const std::string& folder,
                                                     const std::string& id,
                                                     std::uint32_t page_size) {
  CAPSTAN_RETURN_IF_ERROR(MakeFolders(folder));
  const std::string path = PathOf(folder, id);
  UniqueFd fd(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("unable to create '{}'", path));
  }
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, 0) != sizeof seed) {
    return OsError(errno, "unable to draw a key");
  }
  return std::shared_ptr<BasePages>(new BasePages(std::move(fd), seed, page_size));
}

Result<std::shared_ptr<BasePages>> BasePages::Open(const std::string& folder,
                                                   const std::string& id) {
  const std::string path = PathOf(folder, id);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("unable to open '{}'", path));
  }
  Header header{};
  CAPSTAN_RETURN_IF_ERROR(
      Annotate(ReadFully(fd.get(), 0, std::as_writable_bytes(std::span(header))), path));
  const auto page_size = static_cast<std::uint32_t>(header[1]);
  if (header != MakeHeader(page_size, header[2]) || !std::has_single_bit(page_size)) {
    return Error(Code::kDataLoss, "'{}' was not finished, or is damaged", path);
  }
  return std::shared_ptr<BasePages>(new BasePages(std::move(fd), header[2], page_size));
}

void BasePages::RemoveOthers(const std::string& folder, const std::string& id) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(kPrefix) && name.substr(kPrefix.size()) != id) {
      (void)RemoveFile(entry.path());
    }
  }
}

void BasePages::Remove(const std::string& folder, const std::string& id) {
  (void)RemoveFile(PathOf(folder, id));
}

Status BasePages::Note(std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::uint64_t skip = (page_size_ - offset % page_size_) % page_size_;
  if (skip >= bytes.size()) {
    return OkStatus();
  }
  bytes = bytes.subspan(skip);
  const auto first = static_cast<std::uint32_t>((offset + skip) / page_size_ + 1);
  std::vector<PageHash> hashes(bytes.size() / page_size_);
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    hashes[i] = hasher_.Hash(bytes.subspan(i * page_size_, page_size_));
  }
  return Annotate(WriteFully(fd_.get(), OffsetOf(first), std::as_bytes(std::span(hashes))),
                  "the hashes of a full backup");
}

Status BasePages::Finish() {
  if (::fdatasync(fd_.get()) != 0) {
    return OsError(errno, "the hashes of a full backup");
  }
  const Header header = MakeHeader(page_size_, seed_);
  CAPSTAN_RETURN_IF_ERROR(WriteFully(fd_.get(), 0, std::as_bytes(std::span(header))));
  return ::fdatasync(fd_.get()) == 0 ? OkStatus() : OsError(errno, "the hashes of a full backup");
}

Status BasePages::Changed(std::uint32_t first, std::span<const std::byte> bytes,
                          std::vector<std::uint32_t>* numbers) const {
  std::vector<PageHash> hashes(bytes.size() / page_size_);
  CAPSTAN_RETURN_IF_ERROR(
      ReadOrZero(fd_.get(), OffsetOf(first), std::as_writable_bytes(std::span(hashes))));
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (hashes[i].is_zero() ||
        hashes[i] != hasher_.Hash(bytes.subspan(i * page_size_, page_size_))) {
      numbers->push_back(first + static_cast<std::uint32_t>(i));
    }
  }
  return OkStatus();
}

}  // namespace capstan::writers
