#include "server/coordinator/login_gate.h"

#include <fmt/format.h>

#include "server/messages/messages.h"
#include "server/tsql/lexical.h"

namespace capstan::coordinator {
namespace {

constexpr std::size_t kNameCharacters = 128;

// A name from outside, fit for one line of the error log.
std::string Printable(std::string_view name) {
  std::string text(tsql::Clip(name, kNameCharacters));
  for (char& c : text) {
    c = static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return text;
}

// SQL Server's states of 18456, which only the error log tells.
constexpr int kStateNoSuchLogin = 5;
constexpr int kStateWrongPassword = 8;

}  // namespace

LoginGate::LoginGate(LoginStore& logins, engine::ErrorLog& error_log, Options options)
    : logins_(logins), error_log_(error_log), options_(options) {}

Status LoginGate::Admit(Entrance entrance, std::string_view login,
                        const std::optional<std::string>& password) {
  if (!options_.needs_password || entrance == Entrance::kOwner) {
    return OkStatus();
  }
  const std::string_view given = password.has_value() ? std::string_view(*password) : "";
  if (logins_.WasProved(login, given)) {
    return OkStatus();
  }
  CAPSTAN_RETURN_IF_ERROR(TakeTurn());
  const Verdict verdict = logins_.Check(login, given);
  Status status;
  if (verdict != Verdict::kRight) {
    status = Refuse(login, verdict);
    Delay();
  }
  GiveTurn();
  return status;
}

Status LoginGate::TakeTurn() {
  const auto deadline = std::chrono::steady_clock::now() + options_.patience;
  const MutexLock lock(mutex_);
  bool in_time = waiting_ < options_.waiting_max;
  ++waiting_;
  while (turn_taken_ && in_time) {
    in_time = turn_free_.WaitUntil(mutex_, deadline);
  }
  --waiting_;
  if (turn_taken_) {
    return Error(Code::kUnavailable, "too many logins are being checked");
  }
  turn_taken_ = true;
  return OkStatus();
}

void LoginGate::GiveTurn() {
  const MutexLock lock(mutex_);
  turn_taken_ = false;
  turn_free_.NotifyAll();
}

void LoginGate::Delay() {
  const auto end = std::chrono::steady_clock::now() + options_.failure_delay;
  const MutexLock lock(mutex_);
  while (std::chrono::steady_clock::now() < end) {
    turn_free_.WaitUntil(mutex_, end);  // nobody notifies while the turn is ours
  }
}

Status LoginGate::Refuse(std::string_view login, Verdict verdict) {
  const std::string name = Printable(login);
  const bool unknown = verdict == Verdict::kNoSuchLogin;
  const MessageInfo* const info = FindMessage(18456);
  error_log_.WriteLogon(fmt::format("Error: {}, Severity: {}, State: {}.", info->number,
                                    info->severity,
                                    unknown ? kStateNoSuchLogin : kStateWrongPassword));
  error_log_.WriteLogon(
      fmt::format("{} Reason: {} [CLIENT: <local machine>]", MessageText(18456, name),
                  unknown ? "Could not find a login matching the name provided."
                          : "Password did not match that for the login provided."));
  return SqlError(18456, name);
}

}  // namespace capstan::coordinator
