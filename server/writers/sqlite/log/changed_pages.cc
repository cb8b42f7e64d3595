#include "server/writers/sqlite/log/changed_pages.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <span>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/durable_file.h"
#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/page_hash.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

constexpr std::uint64_t kMagic = 0x3130424743;  // "CGB01"
constexpr std::size_t kHeaderWords = 5;         // magic, from, upto, words, hash

}  // namespace

void ChangedPages::Add(std::uint32_t number) {
  const std::size_t word = (number - 1) / 64;
  if (word >= words_.size()) {
    words_.resize(word + 1);
  }
  words_[word] |= std::uint64_t{1} << ((number - 1) % 64);
}

bool ChangedPages::Has(std::uint32_t number) const {
  const std::size_t word = (number - 1) / 64;
  return word < words_.size() && (words_[word] >> ((number - 1) % 64) & 1) != 0;
}

std::uint32_t ChangedPages::Next(std::uint32_t number, std::uint32_t last) const {
  std::uint64_t bit = number - 1;
  while (bit < last && bit / 64 < words_.size()) {
    const std::uint64_t rest = words_[bit / 64] >> (bit % 64);
    if (rest != 0) {
      bit += static_cast<std::uint64_t>(std::countr_zero(rest));
      return bit < last ? static_cast<std::uint32_t>(bit + 1) : 0;
    }
    bit = (bit / 64 + 1) * 64;
  }
  return 0;
}

std::uint64_t ChangedPages::count() const {
  std::uint64_t count = 0;
  for (const std::uint64_t word : words_) {
    count += static_cast<std::uint64_t>(std::popcount(word));
  }
  return count;
}

Status ChangedPages::Save(const std::string& path) const {
  const auto bytes = std::as_bytes(std::span(words_));
  std::string contents(kHeaderWords * 8 + bytes.size(), '\0');
  const std::uint64_t header[kHeaderWords] = {
      kMagic, from_.value, upto_.value, words_.size(),
      HashBytes(bytes) ^ from_.value ^ (upto_.value * 0x9e3779b97f4a7c15)};
  std::memcpy(contents.data(), header, sizeof header);
  if (!bytes.empty()) {
    std::memcpy(contents.data() + sizeof header, bytes.data(), bytes.size());
  }
  return ReplaceFileDurably(path, contents);
}

Result<ChangedPages> ChangedPages::Load(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) {
    return OsError(errno, fmt::format("unable to open '{}'", path));
  }
  std::uint64_t header[kHeaderWords];
  CAPSTAN_RETURN_IF_ERROR(
      Annotate(ReadFully(fd.get(), 0, std::as_writable_bytes(std::span(header))), path));
  ChangedPages pages(Lsn{header[1]});
  pages.upto_ = {header[2]};
  if (header[0] != kMagic || header[3] > static_cast<std::uint64_t>(info.st_size) / 8) {
    return Error(Code::kDataLoss, "'{}' is damaged", path);
  }
  pages.words_.resize(header[3]);
  const auto bytes = std::as_writable_bytes(std::span(pages.words_));
  CAPSTAN_RETURN_IF_ERROR(Annotate(ReadFully(fd.get(), sizeof header, bytes), path));
  if ((HashBytes(bytes) ^ header[1] ^ (header[2] * 0x9e3779b97f4a7c15)) != header[4]) {
    return Error(Code::kDataLoss, "'{}' is damaged", path);
  }
  return pages;
}

}  // namespace capstan::writers
