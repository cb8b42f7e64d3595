#include "tests/support/scripted_http.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "vdi/base/check.h"

namespace capstan::test {
namespace {

constexpr std::size_t kReadSize = 65536;
constexpr std::string_view kHeadEnd = "\r\n\r\n";

// False: nothing more comes, or the server ends.
bool ReadSome(int connection, int stop, std::string* pending) {
  pollfd waits[] = {{connection, POLLIN, 0}, {stop, POLLIN, 0}};
  while (::poll(waits, 2, -1) < 0 && errno == EINTR) {
  }
  char bytes[kReadSize];
  const ssize_t size = waits[1].revents != 0 ? 0 : ::recv(connection, bytes, sizeof(bytes), 0);
  if (size <= 0) {
    return false;
  }
  pending->append(bytes, static_cast<std::size_t>(size));
  return true;
}

void ParseHead(const std::string& head, ScriptedRequest* request) {
  std::size_t line_end = head.find("\r\n");
  const std::string first = head.substr(0, line_end);
  request->method = first.substr(0, first.find(' '));
  const std::size_t target = first.find(' ') + 1;
  request->target = first.substr(target, first.find(' ', target) - target);
  while (line_end < head.size()) {
    const std::size_t begin = line_end + 2;
    line_end = std::min(head.find("\r\n", begin), head.size());
    const std::string line = head.substr(begin, line_end - begin);
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos) {
      std::string name = line.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      request->headers[name] = line.substr(colon + 2);
    }
  }
}

}  // namespace

ScriptedHttp::ScriptedHttp(Script script)
    : script_(std::move(script)),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  CAPSTAN_CHECK(::bind(listener_.get(), any, size) == 0);
  CAPSTAN_CHECK(::listen(listener_.get(), SOMAXCONN) == 0);
  CAPSTAN_CHECK(::getsockname(listener_.get(), any, &size) == 0);
  port_ = ::ntohs(address.sin_port);
  acceptor_ = std::jthread([this] { Accept(); });
}

ScriptedHttp::~ScriptedHttp() {
  ::eventfd_write(stop_.get(), 1);
  acceptor_.join();
  connections_.clear();
}

std::string ScriptedHttp::endpoint() const {
  return "http://127.0.0.1:" + std::to_string(port_);
}

int ScriptedHttp::request_count() {
  const MutexLock lock(mutex_);
  return request_count_;
}

void ScriptedHttp::Accept() {
  pollfd waits[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  while (true) {
    while (::poll(waits, 2, -1) < 0 && errno == EINTR) {
    }
    if (waits[1].revents != 0) {
      return;
    }
    const int connection = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) {
      connections_.emplace_back([this, connection] { Serve(UniqueFd(connection)); });
    }
  }
}

void ScriptedHttp::Serve(const UniqueFd& connection) {
  std::string pending;
  ScriptedRequest request;
  while (ReadRequest(connection.get(), &pending, &request)) {
    ScriptedReply reply;
    {
      const MutexLock lock(mutex_);
      ++request_count_;
      reply = script_(request);
    }
    if (!Answer(connection.get(), request, reply)) {
      return;
    }
    request = {};
  }
}

bool ScriptedHttp::ReadRequest(int connection, std::string* pending, ScriptedRequest* request) {
  std::size_t head_end = 0;
  while ((head_end = pending->find(kHeadEnd)) == std::string::npos) {
    if (!ReadSome(connection, stop_.get(), pending)) {
      return false;
    }
  }
  ParseHead(pending->substr(0, head_end), request);
  const std::size_t body = head_end + kHeadEnd.size();
  const std::size_t size = std::strtoul(request->headers["content-length"].c_str(), nullptr, 10);
  while (pending->size() < body + size) {
    if (!ReadSome(connection, stop_.get(), pending)) {
      return false;
    }
  }
  request->body = pending->substr(body, size);
  pending->erase(0, body + size);
  return true;
}

bool ScriptedHttp::Answer(int connection, const ScriptedRequest& request,
                          const ScriptedReply& reply) {
  using Fault = ScriptedReply::Fault;
  if (reply.fault == Fault::kDrop) {
    return false;
  }
  if (reply.fault == Fault::kStall) {
    std::string ignored;
    while (ReadSome(connection, stop_.get(), &ignored)) {
    }
    return false;
  }
  std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " Scripted\r\n";
  for (const auto& [name, value] : reply.headers) {
    text += name + ": " + value + "\r\n";
  }
  text += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n\r\n";
  if (request.method != "HEAD") {
    text += reply.fault == Fault::kCut ? reply.body.substr(0, reply.body.size() / 2) : reply.body;
  }
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t count = ::send(connection, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) {
      return false;
    }
    sent += static_cast<std::size_t>(count);
  }
  return reply.fault != Fault::kCut;
}

}  // namespace capstan::test
