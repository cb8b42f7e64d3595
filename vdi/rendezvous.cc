#include "vdi/rendezvous.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <thread>
#include <unordered_map>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "vdi/base/crash_point.h"
#include "vdi/base/log.h"
#include "vdi/base/mutex.h"
#include "vdi/client_link.h"
#include "vdi/configuration.h"
#include "vdi/control_message.h"
#include "vdi/engine_set.h"
#include "vdi/listening_socket.h"

namespace capstan::vdi {
namespace {

// Connections that have not named a set yet; more are turned away.
constexpr std::size_t kStrangersMax = 64;
// How long a connection may stay without naming a set.
constexpr std::chrono::seconds kStrangerPatience{10};

class SocketRendezvous final : public Rendezvous {
 public:
  SocketRendezvous(RendezvousOptions options, ListeningSocket socket, UniqueFd poller,
                   UniqueFd stop_event)
      : options_(std::move(options)),
        socket_(std::move(socket)),
        poller_(std::move(poller)),
        stop_event_(std::move(stop_event)),
        thread_([this] { Run(); }) {}

  ~SocketRendezvous() override;

  Result<std::unique_ptr<ServerDeviceSet>> Open(std::string_view set_name,
                                                Deadline deadline) override;
  std::vector<DeviceSetInfo> List() const override;
  const std::string& path() const override { return options_.path; }

 private:
  // A set that a client has created, until its connection ends.
  struct Entry {
    std::shared_ptr<ClientLink> link;
    std::unique_ptr<EngineSet> waiting;  // null once a statement has taken it
    std::uint32_t device_count = 0;
    std::uint32_t features = 0;
  };
  struct Connection {
    std::shared_ptr<ClientLink> link;
    std::string set_name;  // empty: a stranger
    Deadline patience = Deadline::Never();
    // Why it ends, when it does.
    ClientLink::Ending ending = ClientLink::Ending::kAborts;
  };

  void Run();
  void Accept();
  void DropImpatient();
  void Serve(int fd);
  // OK: the connection lives on. Otherwise why it is over.
  Status ServeMessage(Connection& connection);
  Status CreateSet(Connection& connection, const CreateMessage& message);
  Status JoinSet(Connection& connection, const JoinMessage& message);
  Status Admit(Connection& connection, const JoinMessage& message);
  Status Register(Connection& connection, const CreateMessage& message);
  // Whether the client of a set of this name is still there, for sure.
  bool NameIsTaken(const std::string& set_name);
  void End(int fd, const Status& why);

  const RendezvousOptions options_;
  const ListeningSocket socket_;
  const UniqueFd poller_;
  const UniqueFd stop_event_;

  mutable Mutex mutex_;
  CondVar created_;
  std::map<std::string, Entry, std::less<>> sets_ CAPSTAN_GUARDED_BY(mutex_);

  std::unordered_map<int, Connection> connections_;  // the thread's alone
  std::jthread thread_;                              // accepts, and watches all connections
};

Status Watch(int poller, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) {
    return OsError(errno, "unable to watch a socket");
  }
  return OkStatus();
}

SocketRendezvous::~SocketRendezvous() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_event_.get(), &one, sizeof(one));
  thread_.join();
  for (auto& [fd, connection] : connections_) {
    connection.link->DeliverEnd(ClientLink::Ending::kAborts,
                                Error(Code::kAborted, "the engine is shutting down"));
  }
}

Result<std::unique_ptr<ServerDeviceSet>> SocketRendezvous::Open(std::string_view set_name,
                                                                Deadline deadline) {
  MutexLock lock(mutex_);
  for (bool in_time = true;;) {
    const auto found = sets_.find(set_name);
    if (found != sets_.end() && found->second.waiting) {
      std::unique_ptr<EngineSet> set = std::move(found->second.waiting);
      set->Connect();
      CAPSTAN_CRASH_POINT("vdi.server.after_open");
      return std::unique_ptr<ServerDeviceSet>(std::move(set));
    }
    if (!in_time || deadline.passed()) {
      return Error(Code::kNotFound, "no client has created device set '{}'{}", set_name,
                   found == sets_.end() ? "" : " (the one that exists is in use)")
          .WithHint(fmt::format("start the program that serves it; sets meet at '{}'", path()));
    }
    in_time = created_.WaitUntil(mutex_, deadline.when());
  }
}

std::vector<DeviceSetInfo> SocketRendezvous::List() const {
  MutexLock lock(mutex_);
  std::vector<DeviceSetInfo> infos;
  for (const auto& [name, entry] : sets_) {
    infos.push_back({.name = name,
                     .state = entry.link->StateName(),
                     .client_pid = entry.link->pid(),
                     .device_count = entry.device_count,
                     .features = entry.features});
  }
  return infos;
}

void SocketRendezvous::Run() {
  for (;;) {
    std::array<epoll_event, 16> events;
    // Strangers lose patience even when nothing else happens.
    const int count = ::epoll_wait(poller_.get(), events.data(), events.size(), 1000);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == stop_event_.get()) {
        return;
      }
      if (fd == socket_.fd()) {
        Accept();
      } else {
        Serve(fd);
      }
    }
    DropImpatient();
  }
}

void SocketRendezvous::Accept() {
  UniqueFd fd(::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    return;  // gone already, or no descriptors left: it may try again
  }
  const auto strangers =
      std::count_if(connections_.begin(), connections_.end(),
                    [](const auto& item) { return item.second.set_name.empty(); });
  if (static_cast<std::size_t>(strangers) >= kStrangersMax) {
    CAPSTAN_LOG(kWarning, "rendezvous turns a client away: {} have not named a set yet", strangers);
    return;
  }
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      !Watch(poller_.get(), fd.get()).ok()) {
    return;
  }
  CAPSTAN_CRASH_POINT("vdi.server.after_accept");
  const int key = fd.get();
  connections_[key] = {.link = std::make_shared<ClientLink>(std::move(fd), peer.pid),
                       .set_name = "",
                       .patience = Deadline::After(kStrangerPatience),
                       .ending = ClientLink::Ending::kAborts};
}

void SocketRendezvous::DropImpatient() {
  std::vector<int> impatient;
  for (const auto& [fd, connection] : connections_) {
    if (connection.set_name.empty() && connection.patience.passed()) {
      impatient.push_back(fd);
    }
  }
  for (const int fd : impatient) {
    End(fd, Error(Code::kDeadlineExceeded, "the client has not named a set"));
  }
}

void SocketRendezvous::Serve(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) {
    return;  // ended by an earlier event of the same round
  }
  if (const Status served = ServeMessage(found->second); !served.ok()) {
    End(fd, served);
  }
}

Status SocketRendezvous::ServeMessage(Connection& connection) {
  const pid_t pid = connection.link->pid();
  auto received = ReceiveMessage(connection.link->fd(), Passing::kRefuseFd);
  if (!received.ok()) {
    Status failed = std::move(received).status();
    if (failed.os_error() == EAGAIN) {
      return OkStatus();
    }
    if (failed.os_error() != 0) {
      connection.ending = ClientLink::Ending::kLeft;
      return Error(Code::kUnavailable, "the client (pid {}) is gone: {}", pid, failed.message());
    }
    if (connection.set_name.empty()) {
      auto refusal = NewMessage<CreatedMessage>();
      refusal.code = static_cast<std::int32_t>(failed.code());
      refusal.text.Set(failed.message());
      [[maybe_unused]] const Status told = connection.link->Send(refusal);
    }
    return Error(Code::kDataLoss, "the client (pid {}) broke the protocol: {}", pid,
                 failed.message());
  }
  if (received->end_of_file()) {
    connection.ending = ClientLink::Ending::kLeft;
    return Error(Code::kUnavailable, "the client (pid {}) is gone", pid);
  }
  switch (static_cast<MessageType>(received->header().type)) {
    case MessageType::kCreate: {
      CAPSTAN_ASSIGN_OR_RETURN(const CreateMessage message, received->As<CreateMessage>());
      return CreateSet(connection, message);
    }
    case MessageType::kJoin: {
      CAPSTAN_ASSIGN_OR_RETURN(const JoinMessage message, received->As<JoinMessage>());
      return JoinSet(connection, message);
    }
    case MessageType::kAbort: {
      CAPSTAN_ASSIGN_OR_RETURN(const AbortMessage message, received->As<AbortMessage>());
      return Error(Code::kAborted, "the client (pid {}) aborted: {}", pid, message.text.view());
    }
    case MessageType::kClose:
      connection.ending = ClientLink::Ending::kLeft;
      return Error(Code::kAborted, "the client (pid {}) closed the set", pid);
    default:
      return Error(Code::kDataLoss, "the client (pid {}) sent a message of unknown type {}", pid,
                   received->header().type);
  }
}

Status SocketRendezvous::CreateSet(Connection& connection, const CreateMessage& message) {
  Status registered = Register(connection, message);
  if (registered.ok()) {
    return registered;
  }
  auto refusal = NewMessage<CreatedMessage>();
  refusal.code = static_cast<std::int32_t>(registered.code());
  refusal.text.Set(registered.message());
  [[maybe_unused]] const Status told = connection.link->Send(refusal);
  return registered;
}

Status SocketRendezvous::Register(Connection& connection, const CreateMessage& message) {
  if (!connection.set_name.empty()) {
    return Error(Code::kFailedPrecondition, "the connection has created set '{}' already",
                 connection.set_name);
  }
  if (!message.name.valid()) {
    return Error(Code::kInvalidArgument, "a name of {} bytes is too long", message.name.size);
  }
  const std::string name(message.name.view());
  CAPSTAN_RETURN_IF_ERROR(CheckName(name));
  CAPSTAN_RETURN_IF_ERROR(CheckWishes(message.wishes));
  if (NameIsTaken(name)) {
    return Error(Code::kFailedPrecondition, "a device set '{}' exists already", name);
  }
  CAPSTAN_ASSIGN_OR_RETURN(auto set,
                           EngineSet::Create({.name = name,
                                              .wishes = CleanWishes(message.wishes),
                                              .link = connection.link,
                                              .segment_bytes_max = options_.segment_bytes_max}));
  auto answer = NewMessage<CreatedMessage>();
  answer.control_size = set->control().size();
  connection.set_name = name;
  MutexLock lock(mutex_);
  Entry& entry = sets_[name];
  entry = {.link = connection.link,
           .waiting = std::move(set),
           .device_count = message.wishes.device_count,
           .features = message.wishes.features};
  CAPSTAN_CRASH_POINT("vdi.server.before_created");
  // Known before the client hears of it, so that a statement it sends then finds the set. If it
  // cannot be told, the connection ends, and the entry with it.
  CAPSTAN_RETURN_IF_ERROR(connection.link->Send(answer, entry.waiting->control().fd()));
  created_.NotifyAll();
  CAPSTAN_CRASH_POINT("vdi.server.after_created");
  return OkStatus();
}

Status SocketRendezvous::JoinSet(Connection& connection, const JoinMessage& message) {
  Status admitted = Admit(connection, message);
  if (admitted.ok()) {
    return admitted;
  }
  auto refusal = NewMessage<JoinedMessage>();
  refusal.code = static_cast<std::int32_t>(admitted.code());
  refusal.text.Set(admitted.message());
  refusal.hint.Set(admitted.hint());
  [[maybe_unused]] const Status told = connection.link->Send(refusal);
  return admitted;
}

Status SocketRendezvous::Admit(Connection& connection, const JoinMessage& message) {
  if (!connection.set_name.empty()) {
    return Error(Code::kFailedPrecondition, "the connection is of set '{}' already",
                 connection.set_name);
  }
  if (!message.name.valid()) {
    return Error(Code::kInvalidArgument, "a name of {} bytes is too long", message.name.size);
  }
  std::shared_ptr<ClientLink> creator;
  {
    MutexLock lock(mutex_);
    if (const auto found = sets_.find(message.name.view()); found != sets_.end()) {
      creator = found->second.link;
    }
  }
  if (!creator) {
    return Error(Code::kFailedPrecondition, "no process has created a device set '{}'",
                 message.name.view())
        .WithHint("names are exact, and a set ends with the process that created it");
  }
  CAPSTAN_CRASH_POINT("vdi.server.before_joined");
  CAPSTAN_RETURN_IF_ERROR(creator->DeliverJoin(connection.link));
  CAPSTAN_CRASH_POINT("vdi.server.after_joined");
  connection.set_name = message.name.view();
  return OkStatus();
}

bool SocketRendezvous::NameIsTaken(const std::string& set_name) {
  std::shared_ptr<ClientLink> holder;
  {
    MutexLock lock(mutex_);
    const auto found = sets_.find(set_name);
    if (found == sets_.end()) {
      return false;
    }
    holder = found->second.link;
  }
  if (holder->detached()) {
    End(holder->fd(), Error(Code::kAborted, "the engine has closed the set"));
    return false;
  }
  // The news that it has gone may stand right behind this message: read what its client has sent.
  Serve(holder->fd());
  MutexLock lock(mutex_);
  return sets_.contains(set_name);
}

void SocketRendezvous::End(int fd, const Status& why) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) {
    return;
  }
  const Connection ended = std::move(found->second);
  connections_.erase(found);
  ::epoll_ctl(poller_.get(), EPOLL_CTL_DEL, fd, nullptr);
  std::unique_ptr<EngineSet> orphan;
  {
    MutexLock lock(mutex_);
    const auto entry = sets_.find(ended.set_name);
    if (entry != sets_.end() && entry->second.link == ended.link) {
      orphan = std::move(entry->second.waiting);
      sets_.erase(entry);
    }
  }
  ended.link->DeliverEnd(ended.ending, why);
  ended.link->Shutdown();
}

}  // namespace

Result<std::unique_ptr<Rendezvous>> Rendezvous::Listen(RendezvousOptions options) {
  CAPSTAN_ASSIGN_OR_RETURN(ListeningSocket socket,
                           ListeningSocket::Bind(options.path, options.mode));
  CAPSTAN_CRASH_POINT("vdi.server.after_bind");
  UniqueFd poller(::epoll_create1(EPOLL_CLOEXEC));
  UniqueFd stop_event(::eventfd(0, EFD_CLOEXEC));
  if (!poller.valid() || !stop_event.valid()) {
    return OsError(errno, "unable to watch for virtual devices");
  }
  CAPSTAN_RETURN_IF_ERROR(Watch(poller.get(), socket.fd()));
  CAPSTAN_RETURN_IF_ERROR(Watch(poller.get(), stop_event.get()));
  return std::unique_ptr<Rendezvous>(std::make_unique<SocketRendezvous>(
      std::move(options), std::move(socket), std::move(poller), std::move(stop_event)));
}

}  // namespace capstan::vdi
