#include "plugins/tape/scsi/iscsi_transport.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plugins/edge/quiet_thread.h"

namespace capstan::tape {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLoginTimeout{15'000};
constexpr milliseconds kLogoutTimeout{2'000};
constexpr milliseconds kKeepInterval{1'000};
// Pings that came in one interval, and the answers to them.
constexpr int kKeepRounds = 16;
// libiscsi may have nothing to wait for, and wants to be asked again.
constexpr milliseconds kPollMax{100};
// A peer that has vanished is noticed in about half a minute, also while a tape rewinds.
constexpr int kKeepaliveIdleS = 10;
constexpr int kKeepaliveIntervalS = 5;
constexpr int kKeepaliveCount = 4;
constexpr int kUnacknowledgedMs = 30'000;

using TaskPointer = std::unique_ptr<scsi_task, decltype(&scsi_free_scsi_task)>;

std::string InitiatorName() {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  std::string name = fmt::format("iqn.2024-01.capstan:{}", host);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return name;
}

// With libiscsi's own words, but for those on what it would have done if it had been let.
std::string Broken(iscsi_context* context) {
  std::string said = iscsi_get_error(context);
  said.erase(said.find_last_not_of(" \n.") + 1);
  const bool is_news = !said.empty() && said.find("reconnect") == std::string::npos;
  return "the connection is broken" + (is_news ? ": " + said : "");
}

}  // namespace

std::string WithoutSecret(const std::string& url) {
  const std::size_t begin = url.find("://");
  const std::size_t at = url.rfind('@');
  if (begin == std::string::npos || at == std::string::npos || at < begin) {
    return url;
  }
  return url.substr(0, begin + 3) + url.substr(at + 1);
}

// One thing asked of libiscsi, which calls back when it is over. Lives until then, or until the
// context is destroyed.
struct IscsiTransport::Exchange {
  bool over = false;
  int status = SCSI_STATUS_ERROR;

  static void OnOver(iscsi_context* /*context*/, int status, void* /*data*/, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    exchange.over = true;
    exchange.status = status;
  }
};

IscsiTransport::IscsiTransport() : connection_(std::make_unique<Exchange>()) {}

Failure IscsiTransport::Connect(const std::string& url, std::unique_ptr<ScsiTransport>* transport) {
  std::unique_ptr<IscsiTransport> connected(new IscsiTransport);
  Failure failure = connected->Login(url);
  if (failure.failed()) {
    return failure;
  }
  connected->keeper_ = edge::QuietThread(
      [self = connected.get()](const std::stop_token& stop) { self->Keep(stop); });
  *transport = std::move(connected);
  return {};
}

Failure IscsiTransport::Login(const std::string& url) {
  const std::string name = WithoutSecret(url);
  context_ = iscsi_create_context(InitiatorName().c_str());
  if (context_ == nullptr) {
    return {.os_error = ENOMEM, .message = fmt::format("unable to prepare for '{}'", name)};
  }
  const std::unique_ptr<iscsi_url, decltype(&iscsi_destroy_url)> parsed(
      iscsi_parse_full_url(context_, url.c_str()), iscsi_destroy_url);
  if (parsed == nullptr) {
    return {.os_error = EINVAL,
            .message = fmt::format("'{}' is no iSCSI address", name),
            .hint = "write iscsi://host[:port]/target-iqn/lun"};
  }
  unit_ = parsed->lun;
  iscsi_set_targetname(context_, parsed->target);
  iscsi_set_session_type(context_, ISCSI_SESSION_NORMAL);
  iscsi_set_header_digest(context_, ISCSI_HEADER_DIGEST_NONE);
  iscsi_set_noautoreconnect(context_, 1);
  iscsi_set_tcp_user_timeout(context_, kUnacknowledgedMs);
  iscsi_set_tcp_keepidle(context_, kKeepaliveIdleS);
  iscsi_set_tcp_keepintvl(context_, kKeepaliveIntervalS);
  iscsi_set_tcp_keepcnt(context_, kKeepaliveCount);
  if (parsed->user[0] != '\0') {
    iscsi_set_initiator_username_pwd(context_, parsed->user, parsed->passwd);
  }
  if (parsed->target_user[0] != '\0') {
    iscsi_set_target_username_pwd(context_, parsed->target_user, parsed->target_passwd);
  }
  // Not iscsi_full_connect: it would swallow the unit attentions that tell of a new cartridge.
  Exchange login;
  const bool connected =
      iscsi_connect_async(context_, parsed->portal, Exchange::OnOver, connection_.get()) == 0 &&
      Await(*connection_, kLoginTimeout) && connection_->status == SCSI_STATUS_GOOD;
  if (connected && iscsi_login_async(context_, Exchange::OnOver, &login) == 0 &&
      Await(login, kLoginTimeout) && login.status == SCSI_STATUS_GOOD) {
    wire_ = ::fcntl(iscsi_get_fd(context_), F_DUPFD_CLOEXEC, 0);
    if (wire_ < 0 ||
        ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, gate_) != 0) {
      return {.os_error = errno, .message = fmt::format("unable to prepare for '{}'", name)};
    }
    return {};
  }
  const std::string why = iscsi_get_error(context_);
  Break("", 0);
  return {.os_error = connected ? EACCES : ECONNREFUSED,
          .message = fmt::format("unable to {} '{}': {}", connected ? "log in to" : "reach", name,
                                 why.empty() ? "no answer" : why),
          .hint = connected ? "check the target's name, its access list, and user and password"
                            : "check that the target's host is up and listens on that port",
          .transient = !connected};
}

IscsiTransport::~IscsiTransport() {
  keeper_.request_stop();
  if (keeper_.joinable()) {
    keeper_.join();
  }
  if (context_ == nullptr) {
    return;
  }
  Exchange logout;
  if (iscsi_is_logged_in(context_) != 0 &&
      iscsi_logout_async(context_, Exchange::OnOver, &logout) == 0) {
    Await(logout, kLogoutTimeout);
  }
  Break("", 0);
}

ScsiResult IscsiTransport::Execute(const ScsiCommand& command) {
  const std::lock_guard lock(mutex_);
  if (context_ == nullptr) {
    return {.transport_error = broken_, .os_error = broken_error_};
  }
  CommandBlock block = command.block;
  scsi_iovec piece{};
  const std::size_t size = std::max(command.data_out.size(), command.data_in.size());
  const int direction = !command.data_out.empty()  ? SCSI_XFER_WRITE
                        : !command.data_in.empty() ? SCSI_XFER_READ
                                                   : SCSI_XFER_NONE;
  TaskPointer task(scsi_create_task(static_cast<int>(block.size), block.bytes.data(), direction,
                                    static_cast<int>(size)),
                   scsi_free_scsi_task);
  if (task == nullptr) {
    return {.transport_error = "out of memory", .os_error = ENOMEM};
  }
  piece.iov_len = size;
  if (direction == SCSI_XFER_WRITE) {
    // libiscsi only reads from it; its struct serves both directions.
    piece.iov_base = const_cast<std::byte*>(command.data_out.data());
    scsi_task_set_iov_out(task.get(), &piece, 1);
  } else if (direction == SCSI_XFER_READ) {
    piece.iov_base = command.data_in.data();
    scsi_task_set_iov_in(task.get(), &piece, 1);
  }
  Exchange exchange;
  const bool sent = iscsi_scsi_command_async(context_, unit_, task.get(), Exchange::OnOver, nullptr,
                                             &exchange) == 0;
  const bool answered = sent && Await(exchange, command.timeout);
  if (!answered || exchange.status > SCSI_STATUS_TASK_ABORTED) {
    const bool late = sent && !exchange.over && iscsi_is_logged_in(context_) != 0;
    if (late) {
      Break(fmt::format("no answer within {} s", command.timeout.count() / 1'000), ETIMEDOUT);
    } else {
      Break(Broken(context_), ECONNRESET);
    }
    return {.transport_error = broken_, .os_error = broken_error_};
  }
  ScsiResult result{.status = static_cast<ScsiStatus>(exchange.status)};
  if (direction == SCSI_XFER_READ) {
    const std::size_t missing =
        task->residual_status == SCSI_RESIDUAL_UNDERFLOW ? task->residual : 0;
    result.received = size - std::min(missing, size);
  }
  // In front of sense data is their length.
  constexpr int kLengthSize = 2;
  if (result.status == ScsiStatus::kCheckCondition && task->datain.size > kLengthSize) {
    result.sense.assign(task->datain.data + kLengthSize, task->datain.data + task->datain.size);
  }
  return result;
}

bool IscsiTransport::Await(const Exchange& exchange, milliseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  while (!exchange.over) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      return false;
    }
    if (Wait(left) < 0) {
      return exchange.over;
    }
  }
  return true;
}

// What is to be sent goes first, and is not mixed with what comes in: libiscsi 1.19 takes the
// answer to a ping that it reads while data are queued for a protocol error of its own.
int IscsiTransport::Wait(milliseconds timeout) {
  const int wanted = iscsi_which_events(context_);
  pollfd descriptor{.fd = iscsi_get_fd(context_),
                    .events = static_cast<short>((wanted & POLLOUT) != 0 ? POLLOUT : wanted),
                    .revents = 0};
  const milliseconds wait = wanted == 0 ? std::min(timeout, kPollMax) : timeout;
  const int ready = ::poll(&descriptor, 1, static_cast<int>(wait.count()));
  if (ready <= 0) {
    return ready < 0 && errno != EINTR ? -1 : 0;
  }
  const bool is_input = descriptor.revents == POLLIN && iscsi_is_logged_in(context_) != 0;
  const int served = is_input ? ServeInput() : iscsi_service(context_, descriptor.revents);
  return served != 0 ? -1 : 1;
}

// For the same reason a request for data (R2T) is handed to libiscsi alone: it reads all that there
// is, and a ping may be next. It finds the request on a socket that has taken the place of its own.
int IscsiTransport::ServeInput() {
  constexpr std::size_t kHeaderSize = 48;
  constexpr std::uint8_t kReadyToTransfer = 0x31;
  std::array<std::uint8_t, kHeaderSize> header{};
  const int descriptor = iscsi_get_fd(context_);
  const ssize_t size = ::recv(descriptor, header.data(), header.size(), MSG_PEEK | MSG_DONTWAIT);
  const bool is_other = gate_[0] < 0 || size != static_cast<ssize_t>(kHeaderSize) ||
                        header[0] != kReadyToTransfer || header[1] != 0x80 ||
                        std::any_of(&header[4], &header[8], [](auto byte) { return byte != 0; });
  if (is_other) {
    return iscsi_service(context_, POLLIN);
  }
  if (::recv(descriptor, header.data(), header.size(), MSG_DONTWAIT) != size ||
      ::send(gate_[1], header.data(), header.size(), MSG_NOSIGNAL) != size ||
      ::dup3(gate_[0], descriptor, O_CLOEXEC) < 0) {
    return -1;
  }
  const int served = iscsi_service(context_, POLLIN);
  return ::dup3(wire_, descriptor, O_CLOEXEC) < 0 ? -1 : served;
}

void IscsiTransport::Break(std::string why, int os_error) {
  broken_ = std::move(why);
  broken_error_ = os_error;
  if (context_ != nullptr) {
    iscsi_destroy_context(context_);
    context_ = nullptr;
  }
  for (int* const descriptor : {&gate_[0], &gate_[1], &wire_}) {
    if (*descriptor >= 0) {
      ::close(*descriptor);
      *descriptor = -1;
    }
  }
}

void IscsiTransport::Keep(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    wake_.wait_for(lock, stop, kKeepInterval, [] { return false; });
    if (context_ == nullptr) {
      return;
    }
    if (!stop.stop_requested() && !ServeWhatIsDue()) {
      Break(Broken(context_), ECONNRESET);
    }
  }
}

// A ping is read in one round, and answered in the next.
bool IscsiTransport::ServeWhatIsDue() {
  int served = 1;
  for (int round = 0; round < kKeepRounds && served > 0; ++round) {
    served = Wait(milliseconds(0));
  }
  return served >= 0;
}

}  // namespace capstan::tape
