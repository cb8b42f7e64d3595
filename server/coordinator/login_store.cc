#include "server/coordinator/login_store.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/messages/messages.h"
#include "server/tsql/keywords.h"
#include "server/tsql/lexical.h"
#include "vdi/base/unique_fd.h"

namespace capstan::coordinator {
namespace {

constexpr std::string_view kFirstLine = "capstan-logins 1";
constexpr std::size_t kCharactersMax = 128;  // of a password, as in SQL Server
constexpr std::size_t kFileSizeMax = std::size_t{16} << 20;

template <std::size_t kSize>
std::string ToHex(const std::array<std::uint8_t, kSize>& bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += fmt::format("{:02x}", byte);
  }
  return text;
}

template <std::size_t kSize>
bool FromHex(std::string_view text, std::array<std::uint8_t, kSize>* bytes) {
  if (text.size() != 2 * kSize) {
    return false;
  }
  for (std::size_t i = 0; i < kSize; ++i) {
    const char* const begin = text.data() + 2 * i;
    if (std::from_chars(begin, begin + 2, (*bytes)[i], 16).ptr != begin + 2) {
      return false;
    }
  }
  return true;
}

// The text before the first space; `rest` becomes what follows it.
std::string_view TakeWord(std::string_view* rest) {
  const std::size_t end = rest->find(' ');
  const std::string_view word = rest->substr(0, end);
  rest->remove_prefix(end == std::string_view::npos ? rest->size() : end + 1);
  return word;
}

template <typename Number>
bool TakeNumber(std::string_view* rest, Number* number) {
  const std::string_view word = TakeWord(rest);
  const char* const end = word.data() + word.size();
  const auto parsed = std::from_chars(word.data(), end, *number);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

Result<std::string> ReadAll(const UniqueFd& file, const std::string& path) {
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t size = ::read(file.get(), buffer.data(), buffer.size());
    if (size < 0) {
      return OsError(errno, fmt::format("unable to read the logins '{}'", path));
    }
    if (size == 0) {
      return text;
    }
    text.append(buffer.data(), static_cast<std::size_t>(size));
    if (text.size() > kFileSizeMax) {
      return Error(Code::kDataLoss, "the logins '{}' have more than {} bytes", path, kFileSizeMax);
    }
  }
}

Status SyncFolderOf(const std::string& path) {
  const std::string folder = path.substr(0, path.find_last_of('/') + 1);
  const UniqueFd fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return OsError(errno, fmt::format("unable to make '{}' durable", path));
  }
  return OkStatus();
}

// A file that is either the old one or the whole new one, readable by its owner alone.
Status ReplaceFile(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());  // of a server that died here
  const UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return OsError(errno, fmt::format("unable to create '{}'", fresh));
  }
  while (!text.empty()) {
    const ssize_t size = ::write(file.get(), text.data(), text.size());
    if (size < 0) {
      const int os_error = errno;
      ::unlink(fresh.c_str());
      return OsError(os_error, fmt::format("unable to write '{}'", fresh));
    }
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  if (::fsync(file.get()) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0) {
    const int os_error = errno;
    ::unlink(fresh.c_str());
    return OsError(os_error, fmt::format("unable to replace the logins '{}'", path));
  }
  return SyncFolderOf(path);
}

Status CheckPassword(std::string_view password) {
  if (password.empty()) {
    return SqlError(15116);
  }
  return tsql::CountCodePoints(password) > kCharactersMax ? SqlError(15117) : OkStatus();
}

// A name is the rest of a line, and stands in the error log.
Status CheckName(std::string_view name) {
  const bool control = std::any_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  if (name.empty()) {
    return SqlError(1038);
  }
  return control ? SqlError(15006, "login") : OkStatus();
}

}  // namespace

LoginStore::LoginStore(std::string path, ProofKey proof_key, std::vector<Login> logins)
    : path_(std::move(path)), proof_key_(proof_key), logins_(std::move(logins)) {}

Result<std::unique_ptr<LoginStore>> LoginStore::Open(std::string path) {
  CAPSTAN_ASSIGN_OR_RETURN(const ProofKey proof_key, MakeProofKey());
  CAPSTAN_ASSIGN_OR_RETURN(std::vector<Login> logins, Read(path));
  return std::unique_ptr<LoginStore>(new LoginStore(std::move(path), proof_key, std::move(logins)));
}

Result<std::vector<LoginStore::Login>> LoginStore::Read(const std::string& path) {
  std::vector<Login> logins;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) {
      return logins;
    }
    return OsError(errno, fmt::format("unable to open the logins '{}'", path));
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || (status.st_mode & 0077) != 0) {
    return Error(Code::kPermissionDenied, "others than its owner may open the logins '{}'", path)
        .WithHint(fmt::format("chmod 600 '{}', and think of new passwords", path));
  }
  CAPSTAN_ASSIGN_OR_RETURN(const std::string text, ReadAll(file, path));
  std::string_view rest = text;
  for (int number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    const std::string line(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    const bool first = number == 1;
    Result<Login> login = first ? Result<Login>(Login{}) : ParseLine(line);
    if (end == std::string_view::npos || (first && line != kFirstLine) || !login.ok()) {
      return Error(Code::kDataLoss, "the logins '{}' are damaged in line {}", path, number)
          .WithHint("put a copy back, or remove the file and add the logins again");
    }
    if (!first) {
      logins.push_back(*std::move(login));
    }
  }
  return logins;
}

Result<LoginStore::Login> LoginStore::ParseLine(const std::string& line) {
  Login login;
  std::string_view rest = line;
  const bool good =
      TakeWord(&rest) == "scrypt" && TakeNumber(&rest, &login.hash.cost) &&
      TakeNumber(&rest, &login.hash.block_size) && TakeNumber(&rest, &login.hash.parallelism) &&
      FromHex(TakeWord(&rest), &login.hash.salt) && FromHex(TakeWord(&rest), &login.hash.key) &&
      TakeNumber(&rest, &login.info.created_unix_s) &&
      TakeNumber(&rest, &login.info.modified_unix_s) && CheckName(rest).ok();
  if (!good) {
    return Error(Code::kDataLoss, "not a login");
  }
  login.info.name = rest;
  return login;
}

std::string LoginStore::FormatLine(const Login& login) {
  return fmt::format("scrypt {} {} {} {} {} {} {} {}\n", login.hash.cost, login.hash.block_size,
                     login.hash.parallelism, ToHex(login.hash.salt), ToHex(login.hash.key),
                     login.info.created_unix_s, login.info.modified_unix_s, login.info.name);
}

Status LoginStore::Replace(std::vector<Login> logins) {
  std::string text = std::string(kFirstLine) + '\n';
  for (const Login& login : logins) {
    text += FormatLine(login);
  }
  CAPSTAN_RETURN_IF_ERROR(ReplaceFile(path_, text));
  logins_ = std::move(logins);
  return OkStatus();
}

std::vector<LoginStore::Login>::const_iterator LoginStore::Find(std::string_view name) const {
  return std::find_if(logins_.begin(), logins_.end(), [&](const Login& login) {
    return tsql::EqualsIgnoreCase(login.info.name, name);
  });
}

Status LoginStore::Add(std::string_view name, std::string_view password) {
  CAPSTAN_RETURN_IF_ERROR(CheckName(name));
  CAPSTAN_RETURN_IF_ERROR(CheckPassword(password));
  CAPSTAN_ASSIGN_OR_RETURN(const PasswordHash hash, HashPassword(password));
  const std::int64_t now = std::time(nullptr);
  const MutexLock lock(mutex_);
  if (Find(name) != logins_.end()) {
    return SqlError(15025, name);
  }
  std::vector<Login> logins = logins_;
  logins.push_back(
      {.info = {.name = std::string(name), .created_unix_s = now, .modified_unix_s = now},
       .hash = hash,
       .proof = std::nullopt});
  return Replace(std::move(logins));
}

Status LoginStore::ChangePassword(std::string_view name, std::string_view password) {
  CAPSTAN_RETURN_IF_ERROR(CheckPassword(password));
  CAPSTAN_ASSIGN_OR_RETURN(const PasswordHash hash, HashPassword(password));
  const MutexLock lock(mutex_);
  const auto found = Find(name);
  if (found == logins_.end()) {
    return SqlError(15151, "alter", "login", name);
  }
  std::vector<Login> logins = logins_;
  Login& login = logins[static_cast<std::size_t>(found - logins_.cbegin())];
  login.hash = hash;
  login.info.modified_unix_s = std::time(nullptr);
  login.proof.reset();
  return Replace(std::move(logins));
}

Status LoginStore::Remove(std::string_view name) {
  const MutexLock lock(mutex_);
  const auto found = Find(name);
  if (found == logins_.end()) {
    return SqlError(15151, "drop", "login", name);
  }
  std::vector<Login> logins = logins_;
  logins.erase(logins.begin() + (found - logins_.cbegin()));
  return Replace(std::move(logins));
}

std::vector<LoginInfo> LoginStore::List() const {
  const MutexLock lock(mutex_);
  std::vector<LoginInfo> infos;
  infos.reserve(logins_.size());
  for (const Login& login : logins_) {
    infos.push_back(login.info);
  }
  return infos;
}

bool LoginStore::WasProved(std::string_view name, std::string_view password) const {
  const Proof proof = MakeProof(proof_key_, password);
  const MutexLock lock(mutex_);
  const auto found = Find(name);
  return found != logins_.end() && found->proof.has_value() && SameProof(*found->proof, proof);
}

Verdict LoginStore::Check(std::string_view name, std::string_view password) {
  PasswordHash hash = nobody_;
  bool exists = false;
  {
    const MutexLock lock(mutex_);
    if (const auto found = Find(name); found != logins_.end()) {
      hash = found->hash;
      exists = true;
    }
  }
  const bool right = IsPassword(hash, password);  // without the lock: it takes its time
  if (!exists || !right) {
    return exists ? Verdict::kWrongPassword : Verdict::kNoSuchLogin;
  }
  const MutexLock lock(mutex_);
  for (Login& login : logins_) {
    // Only if the password is still this one.
    if (tsql::EqualsIgnoreCase(login.info.name, name) && login.hash.salt == hash.salt) {
      login.proof = MakeProof(proof_key_, password);
    }
  }
  return Verdict::kRight;
}

}  // namespace capstan::coordinator
