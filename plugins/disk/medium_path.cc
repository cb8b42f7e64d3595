#include "plugins/disk/medium_path.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace capstan::disk {
namespace {

constexpr std::string_view kPartialSuffix = ".capstan-partial";
constexpr std::string_view kNoteSuffix = ".capstan-append";
constexpr std::size_t kTokenSizeMax = 64;
constexpr int kLinksMax = 40;  // as the kernel's own limit

bool IsTokenCharacter(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

std::string Join(const std::string& directory, const std::string& leaf) {
  return directory == "/" ? "/" + leaf : directory + "/" + leaf;
}

std::string HashText(std::string_view text) {
  char hex[17];
  std::snprintf(hex, sizeof(hex), "%016llx", static_cast<unsigned long long>(Hash(text)));
  return hex;
}

// The part of a partial's name that stands for the leaf. Tokens differ in length, so the room left
// for the leaf is computed for the longest: the stem of a leaf is the same for every token.
std::string Stem(const std::string& leaf) {
  static_assert(kNoteSuffix.size() <= kPartialSuffix.size());
  constexpr std::size_t kRoom = NAME_MAX - kTokenSizeMax - kPartialSuffix.size() - 2;
  if (leaf.size() <= kRoom) {
    return leaf;
  }
  const std::string hash = HashText(leaf);
  return leaf.substr(0, kRoom - hash.size() - 1) + "~" + hash;
}

// The token of ".<leaf>.<token><suffix>"; empty if `name` is not of that form. A leaf may hold
// dots, a token may not: ".a.b.T.capstan-partial" belongs to "a.b", never to "a".
std::string_view TokenOf(std::string_view name, const std::string& leaf, std::string_view suffix) {
  const std::string prefix = "." + Stem(leaf) + ".";
  if (name.size() <= prefix.size() + suffix.size() || !name.starts_with(prefix) ||
      !name.ends_with(suffix)) {
    return {};
  }
  const std::string_view token =
      name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  return IsToken(token) ? token : std::string_view{};
}

Failure ReadLink(const std::string& path, const std::string& target, std::string* result) {
  char buffer[PATH_MAX];
  const ssize_t size = ::readlink(path.c_str(), buffer, sizeof(buffer));
  if (size < 0) {
    return Failure::Unable(errno, "follow the link at", target);
  }
  result->assign(buffer, static_cast<std::size_t>(size));
  return Failure::None();
}

}  // namespace

Failure MediumPath::Resolve(const std::string& target, MediumPath* result) {
  if (target.empty() || target[0] != '/') {
    return Failure::Of(EINVAL, "the path of medium '" + target + "' is not absolute");
  }
  std::string path = target;
  for (int links = 0; links <= kLinksMax; ++links) {
    const std::size_t slash = path.rfind('/');
    const std::string leaf = path.substr(slash + 1);
    if (leaf.empty() || leaf == "." || leaf == "..") {
      return Failure::Of(EISDIR, "the path of medium '" + target + "' names a directory");
    }
    const std::string parent = slash == 0 ? "/" : path.substr(0, slash);
    const std::unique_ptr<char, decltype(&std::free)> canonical(::realpath(parent.c_str(), nullptr),
                                                                &std::free);
    if (!canonical) {
      return Failure::Of(errno,
                         "unable to reach directory '" + parent + "' of medium '" + target + "'");
    }
    *result = {canonical.get(), leaf, Join(canonical.get(), leaf)};

    struct stat status {};
    if (::lstat(result->path.c_str(), &status) != 0) {
      return errno == ENOENT ? Failure::None() : Failure::Unable(errno, "look up", target);
    }
    if (!S_ISLNK(status.st_mode)) {
      return Failure::None();
    }
    std::string link;
    if (Failure failure = ReadLink(result->path, target, &link); failure.failed()) {
      return failure;
    }
    path = link[0] == '/' ? link : Join(result->directory, link);
  }
  return Failure::Unable(ELOOP, "follow the links at", target);
}

std::uint64_t Hash(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return hash;
}

bool IsToken(std::string_view token) {
  return !token.empty() && token.size() <= kTokenSizeMax &&
         std::all_of(token.begin(), token.end(), IsTokenCharacter);
}

std::string PartialName(const std::string& leaf, std::string_view token) {
  return "." + Stem(leaf) + "." + std::string(token) + std::string(kPartialSuffix);
}

bool IsPartialOf(std::string_view name, const std::string& leaf) {
  return !TokenOf(name, leaf, kPartialSuffix).empty();
}

std::string NoteName(const std::string& leaf, std::string_view token) {
  return "." + Stem(leaf) + "." + std::string(token) + std::string(kNoteSuffix);
}

std::string_view TokenOfNote(std::string_view name, const std::string& leaf) {
  return TokenOf(name, leaf, kNoteSuffix);
}

std::string LockHolder(int fd) {
  struct stat status {};
  std::ifstream locks("/proc/locks");
  if (::fstat(fd, &status) != 0 || !locks) {
    return "another process";
  }
  char file_id[64];
  std::snprintf(file_id, sizeof(file_id), " %02x:%02x:%llu ", major(status.st_dev),
                minor(status.st_dev), static_cast<unsigned long long>(status.st_ino));
  for (std::string line; std::getline(locks, line);) {
    int pid = 0;
    if (line.find(" FLOCK ") == std::string::npos || line.find(file_id) == std::string::npos ||
        std::sscanf(line.c_str(), "%*s %*s %*s %*s %d", &pid) != 1 || pid <= 0) {
      continue;
    }
    std::string command;
    std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
    std::getline(comm, command);
    return "process " + std::to_string(pid) + (command.empty() ? "" : " (" + command + ")");
  }
  return "another process";
}

}  // namespace capstan::disk
