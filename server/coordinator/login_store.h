// LoginStore: the logins of a server and what is kept of their passwords, in a file of mode 0600.
//
// The file is text: a line that names the format, then one line per login,
//   scrypt <N> <r> <p> <salt> <key> <created> <modified> <name>
// with salt and key in hexadecimal and the times in seconds since 1970. Every change writes a new
// file and renames it over the old one: after a crash there is the old list or the new one.
// Names are compared as SQL Server does by default: without regard to case. Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/coordinator/password_hash.h"
#include "vdi/base/mutex.h"
#include "vdi/base/status.h"

namespace capstan::coordinator {

struct LoginInfo {
  std::string name;
  std::int64_t created_unix_s = 0;
  std::int64_t modified_unix_s = 0;  // of its password
};

enum class Verdict { kRight, kNoSuchLogin, kWrongPassword };

class LoginStore {
 public:
  // Reads the file; without one there are no logins. kPermissionDenied: others than its owner may
  // read it. kDataLoss: it is not what this class writes.
  static Result<std::unique_ptr<LoginStore>> Open(std::string path);

  // 15025: it exists. 15006: control characters in the name. 15116, 15117: the password is empty,
  // or longer than 128 characters.
  Status Add(std::string_view name, std::string_view password) CAPSTAN_EXCLUDES(mutex_);
  // 15151: no such login; 15116 and 15117 as above.
  Status ChangePassword(std::string_view name, std::string_view password) CAPSTAN_EXCLUDES(mutex_);
  // 15151: no such login.
  Status Remove(std::string_view name) CAPSTAN_EXCLUDES(mutex_);

  // In the order of their creation.
  std::vector<LoginInfo> List() const CAPSTAN_EXCLUDES(mutex_);

  // True if Check has found this password right before. Costs nothing.
  bool WasProved(std::string_view name, std::string_view password) const CAPSTAN_EXCLUDES(mutex_);
  // Takes as long for a login that does not exist as for a wrong password.
  Verdict Check(std::string_view name, std::string_view password) CAPSTAN_EXCLUDES(mutex_);

 private:
  struct Login {
    LoginInfo info;
    PasswordHash hash;
    std::optional<Proof> proof;  // of the password that was found right
  };

  LoginStore(std::string path, ProofKey proof_key, std::vector<Login> logins);

  static Result<std::vector<Login>> Read(const std::string& path);
  static Result<Login> ParseLine(const std::string& line);
  static std::string FormatLine(const Login& login);
  // Writes `logins` and, once they are durable, has them.
  Status Replace(std::vector<Login> logins) CAPSTAN_REQUIRES(mutex_);
  std::vector<Login>::const_iterator Find(std::string_view name) const CAPSTAN_REQUIRES(mutex_);

  const std::string path_;
  const ProofKey proof_key_;
  const PasswordHash nobody_{};  // stands in for logins that do not exist

  mutable Mutex mutex_;
  std::vector<Login> logins_ CAPSTAN_GUARDED_BY(mutex_);
};

}  // namespace capstan::coordinator
