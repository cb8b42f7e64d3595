// The gRPC edge: sends batches to the server and hands out what comes back as plain values.
//
// Nobody but requester_client.cc sees gRPC. A server that dies, hangs or is cut off ends Execute
// within its connect timeout (no connection yet) or kKeepaliveInterval + kKeepaliveTimeout.
// Threads: Execute one at a time; Cancel from any thread, at any time.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "tools/client/credentials.h"
#include "tools/client/endpoint.h"
#include "tools/client/response.h"
#include "vdi/base/status.h"

namespace capstan::cli {

inline constexpr std::chrono::milliseconds kConnectTimeout{5000};
inline constexpr std::chrono::milliseconds kKeepaliveInterval{4000};
inline constexpr std::chrono::milliseconds kKeepaliveTimeout{4000};
inline constexpr std::size_t kBatchSizeMax = 1 << 20;

enum class Outcome { kSucceeded, kFailed };

struct ExecuteOptions {
  std::chrono::milliseconds progress_interval{0};  // 0 = no progress wanted
  std::chrono::milliseconds timeout{0};            // of the whole batch; 0 = none
};

struct ClientOptions {
  Credentials credentials = {};
  std::chrono::milliseconds connect_timeout = kConnectTimeout;
};

class RequesterClient {
 public:
  // Does not connect yet.
  explicit RequesterClient(Endpoint endpoint, ClientOptions options = {});
  ~RequesterClient();
  RequesterClient(const RequesterClient&) = delete;
  RequesterClient& operator=(const RequesterClient&) = delete;

  const Endpoint& endpoint() const { return endpoint_; }

  // Runs one batch to its end. The outcome is the batch's: whether its statements succeeded. Else
  //   kUnavailable       the server cannot be reached, or was lost in mid-statement
  //   kUnauthenticated   the login was refused, with error 18456 as its reason; nothing was run
  //   kDeadlineExceeded  the batch took longer than its timeout, and was cancelled
  //   kCancelled         Cancel was called
  //   kInvalidArgument   the batch is longer than 1 MiB or not UTF-8
  // and whatever code the server refused the call with.
  Result<Outcome> Execute(std::string_view batch, const ExecuteOptions& options,
                          ResponseSink& sink);

  // Ends the running Execute and all later ones with kCancelled.
  void Cancel();

 private:
  struct Impl;

  const Endpoint endpoint_;
  const ClientOptions options_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace capstan::cli
