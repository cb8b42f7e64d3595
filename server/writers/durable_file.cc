#include "server/writers/durable_file.h"

#include <cerrno>
#include <cstdlib>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/writers/positioned_io.h"
#include "server/writers/sqlite/log/page_hash.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {
namespace {

constexpr std::size_t kSmallFileBytesMax = 16 << 20;

std::string HashLine(const std::string& text) {
  return fmt::format("hash={:016x}\n", HashBytes(std::as_bytes(std::span(text))));
}

// A value stays on its line.
std::string Escape(const std::string& value) {
  std::string escaped;
  for (const char c : value) {
    if (c == '\n' || c == '%') {
      escaped += fmt::format("%{:02x}", static_cast<unsigned>(c));
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string Unescape(const std::string& escaped) {
  std::string value;
  for (std::size_t i = 0; i < escaped.size(); ++i) {
    if (escaped[i] == '%' && i + 2 < escaped.size()) {
      value += static_cast<char>(std::strtoul(escaped.substr(i + 1, 2).c_str(), nullptr, 16));
      i += 2;
    } else {
      value += escaped[i];
    }
  }
  return value;
}

}  // namespace

std::string KeyedRecord::Text(const std::string& key) const {
  const auto found = values_.find(key);
  return found != values_.end() ? found->second : "";
}

std::uint64_t KeyedRecord::Number(const std::string& key) const {
  return std::strtoull(Text(key).c_str(), nullptr, 10);
}

Guid KeyedRecord::GuidOf(const std::string& key) const {
  auto guid = Guid::Parse(Text(key));
  return guid.ok() ? *guid : Guid{};
}

std::string KeyedRecord::Encode(const std::string& kind) const {
  std::string text = kind + " 1\n";
  for (const auto& [key, value] : values_) {
    text += key + "=" + Escape(value) + "\n";
  }
  return text + HashLine(text);
}

Result<KeyedRecord> KeyedRecord::Decode(const std::string& text, const std::string& kind) {
  const std::size_t hash = text.rfind("hash=");
  if (!text.starts_with(kind + " 1\n") || hash == std::string::npos ||
      text.substr(hash) != HashLine(text.substr(0, hash))) {
    return Error(Code::kDataLoss, "it is damaged, or no {}", kind);
  }
  KeyedRecord record;
  for (std::size_t at = text.find('\n') + 1; at < hash;) {
    const std::size_t end = text.find('\n', at);
    const std::size_t equals = text.find('=', at);
    record.values_[text.substr(at, equals - at)] =
        Unescape(text.substr(equals + 1, end - equals - 1));
    at = end + 1;
  }
  return record;
}

Status ReplaceFileDurably(const std::string& path, const std::string& contents) {
  const std::string fresh = path + ".new";
  UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                     S_IRUSR | S_IWUSR));
  if (!fd.valid()) {
    return OsError(errno, fmt::format("unable to create '{}'", fresh));
  }
  CAPSTAN_RETURN_IF_ERROR(
      Annotate(WriteFully(fd.get(), 0, std::as_bytes(std::span(contents))), fresh));
  if (::fsync(fd.get()) != 0) {
    return OsError(errno, fmt::format("unable to sync '{}'", fresh));
  }
  fd.Reset();
  if (::rename(fresh.c_str(), path.c_str()) != 0) {
    return OsError(errno, fmt::format("unable to rename '{}'", fresh));
  }
  return SyncFolder(FolderOf(path));
}

Result<std::optional<std::string>> ReadSmallFile(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return std::optional<std::string>();
    }
    return OsError(errno, fmt::format("unable to open '{}'", path));
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) {
    return OsError(errno, path);
  }
  if (static_cast<std::uint64_t>(info.st_size) > kSmallFileBytesMax) {
    return Error(Code::kDataLoss, "'{}' is larger than it can be", path);
  }
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  CAPSTAN_RETURN_IF_ERROR(
      Annotate(ReadFully(fd.get(), 0, std::as_writable_bytes(std::span(text))), path));
  return std::optional<std::string>(std::move(text));
}

Status SyncFolder(const std::string& folder) {
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.valid() && ::fsync(fd.get()) == 0
             ? OkStatus()
             : OsError(errno, fmt::format("unable to sync '{}'", folder));
}

Status MakeFolders(const std::string& folder) {
  for (std::size_t slash = folder.find('/', 1);; slash = folder.find('/', slash + 1)) {
    const std::string part = folder.substr(0, slash);
    if (::mkdir(part.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
      return OsError(errno, fmt::format("unable to create '{}'", part));
    }
    if (slash == std::string::npos) {
      return OkStatus();
    }
  }
}

Status RemoveFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return OsError(errno, fmt::format("unable to remove '{}'", path));
  }
  return OkStatus();
}

std::string FolderOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace capstan::writers
