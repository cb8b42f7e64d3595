#include "tools/client/endpoint.h"

#include <charconv>

#include <sys/un.h>

namespace capstan::cli {
namespace {

Result<Endpoint> UnixEndpoint(std::string_view text, std::string_view path) {
  if (path.empty()) {
    return Error(Code::kInvalidArgument, "server address '{}' has no path", text);
  }
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Error(Code::kInvalidArgument, "socket path '{}' is longer than the system's {} bytes",
                 path, sizeof(sockaddr_un::sun_path) - 1);
  }
  return Endpoint{std::string(text), "unix:" + std::string(path), std::string(path)};
}

}  // namespace

Result<Endpoint> ParseEndpoint(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) {
    std::string_view path = text.substr(kUnix.size());
    if (path.starts_with("///")) {
      path.remove_prefix(2);
    }
    return UnixEndpoint(text, path);
  }
  if (text.starts_with('/')) {
    return UnixEndpoint(text, text);
  }
  const std::size_t colon = text.rfind(':');
  const std::string_view host = text.substr(0, colon == std::string_view::npos ? 0 : colon);
  const std::string_view port_text =
      colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  int port = 0;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  const bool bare_ipv6 = host.find(':') != std::string_view::npos && !host.starts_with('[');
  if (host.empty() || host.find('/') != std::string_view::npos || bare_ipv6 ||
      error != std::errc() || end != port_text.data() + port_text.size() || port < 1 ||
      port > 65535) {
    return Error(Code::kInvalidArgument, "'{}' is not a server address", text)
        .WithHint("write unix:PATH, an absolute path, HOST:PORT or [IPV6]:PORT");
  }
  // "dns:" keeps gRPC from taking a host's name for one of its own schemes.
  return Endpoint{std::string(text), "dns:///" + std::string(text), ""};
}

}  // namespace capstan::cli
