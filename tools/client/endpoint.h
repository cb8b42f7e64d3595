// Where the server listens, as people write it -> as gRPC wants it. Pure.
#pragma once

#include <string>
#include <string_view>

#include "vdi/base/status.h"

namespace capstan::cli {

inline constexpr std::string_view kDefaultServer = "unix:/run/capstan/capstand.sock";

struct Endpoint {
  std::string written;      // for messages
  std::string grpc_target;  // "unix:/path" or "host:port"
  std::string unix_path;    // empty for TCP
};

// "unix:PATH", "unix:///PATH", a bare absolute path, "host:port", "[::1]:port".
Result<Endpoint> ParseEndpoint(std::string_view text);

}  // namespace capstan::cli
