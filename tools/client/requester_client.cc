#include "tools/client/requester_client.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <utility>

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "capstan/v1/requester.grpc.pb.h"

#include "tools/client/text_width.h"
#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::cli {
namespace {

std::shared_ptr<grpc::Channel> OpenChannel(const Endpoint& endpoint) {
  // What gRPC would log about a server that is not there, we say ourselves. Must happen before its
  // first call; a value that the user has set wins.
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(kKeepaliveInterval.count()));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(kKeepaliveTimeout.count()));
  // A long statement may be silent for minutes; pings must go on.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A proxy for the web knows nothing of backup servers.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A row is as long as its longest name, and a history may hold long descriptions.
  arguments.SetMaxReceiveMessageSize(64 << 20);
  if (!endpoint.unix_path.empty()) {
    // Otherwise gRPC sends the percent-encoded path, which some servers refuse.
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  }
  return grpc::CreateCustomChannel(endpoint.grpc_target, grpc::InsecureChannelCredentials(),
                                   arguments);
}

ServerMessage FromProto(const v1::Message& message) {
  return {.number = message.number(),
          .severity = message.severity(),
          .state = message.state(),
          .line = message.line(),
          .text = message.text(),
          .hint = message.hint(),
          .server_name = message.server_name()};
}

std::vector<Column> FromProto(const v1::ResultSetBegin& result_set) {
  std::vector<Column> columns;
  columns.reserve(static_cast<std::size_t>(result_set.columns_size()));
  for (const v1::Column& column : result_set.columns()) {
    columns.push_back({column.name(), column.type()});
  }
  return columns;
}

Row FromProto(const v1::Row& row) {
  Row values;
  values.reserve(static_cast<std::size_t>(row.values_size()));
  for (const v1::Value& value : row.values()) {
    values.push_back(value.has_text() ? std::optional(value.text()) : std::nullopt);
  }
  return values;
}

Progress FromProto(const v1::Progress& progress) {
  Progress result{.job_id = progress.job_id(),
                  .phase = progress.phase(),
                  .percent = progress.percent(),
                  .bytes_done = progress.bytes_done(),
                  .bytes_total = progress.bytes_total(),
                  .elapsed_ms = progress.elapsed_ms(),
                  .devices = {}};
  result.devices.reserve(static_cast<std::size_t>(progress.devices_size()));
  for (const v1::DeviceProgress& device : progress.devices()) {
    result.devices.push_back({.name = device.name(),
                              .agent = device.agent(),
                              .bytes = device.bytes(),
                              .bytes_per_second_now = device.bytes_per_second_now(),
                              .bytes_per_second_mean = device.bytes_per_second_mean(),
                              .in_flight = device.in_flight(),
                              .state = device.state()});
  }
  return result;
}

// Hands the parts of one call on, and remembers what of the protocol has been seen.
class PartReader {
 public:
  explicit PartReader(ResponseSink& sink) : sink_(sink) {}

  bool done() const { return done_; }
  Outcome outcome() const { return outcome_; }

  Status Take(v1::ExecuteResponse& response) {
    switch (response.part_case()) {
      case v1::ExecuteResponse::kMessage:
        sink_.OnMessage(FromProto(response.message()));
        break;
      case v1::ExecuteResponse::kResultSet:
        column_count_ = response.result_set().columns_size();
        sink_.OnResultSet(FromProto(response.result_set()));
        break;
      case v1::ExecuteResponse::kRow:
        if (response.row().values_size() != column_count_) {
          return Error(Code::kInternal, "the server sent a row of {} values for {} columns",
                       response.row().values_size(), column_count_);
        }
        sink_.OnRow(FromProto(response.row()));
        break;
      case v1::ExecuteResponse::kProgress:
        sink_.OnProgress(FromProto(response.progress()));
        break;
      case v1::ExecuteResponse::kDone:
        done_ = true;
        outcome_ = response.done().succeeded() ? Outcome::kSucceeded : Outcome::kFailed;
        break;
      case v1::ExecuteResponse::PART_NOT_SET:
        break;  // a newer server's part that this client does not know
    }
    return OkStatus();
  }

 private:
  ResponseSink& sink_;
  int column_count_ = 0;
  bool done_ = false;
  Outcome outcome_ = Outcome::kFailed;
};

Status CheckBatch(std::string_view batch) {
  if (batch.size() > kBatchSizeMax) {
    return Error(Code::kInvalidArgument, "the batch has {} bytes, more than {}", batch.size(),
                 kBatchSizeMax)
        .WithHint("separate the statements by lines that hold only GO");
  }
  if (!IsUtf8(batch)) {
    return Error(Code::kInvalidArgument, "the statement is not UTF-8");
  }
  return OkStatus();
}

Status CheckCredentials(const Credentials& credentials) {
  if (!IsUtf8(credentials.login) || !IsUtf8(credentials.password.value_or(""))) {
    return Error(Code::kInvalidArgument, "the login or its password is not UTF-8");
  }
  return OkStatus();
}

// errno of a plain connection attempt, which says more than gRPC does; 0 if it works or blocks.
int ProbeUnixSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());  // ParseEndpoint checked the length
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) {
    return 0;
  }
  const int result =
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  return result == 0 || errno == EAGAIN ? 0 : errno;
}

// gRPC lists what it tried in front of the cause: "failed to connect to all addresses; last error:
// UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused".
std::string LastPart(const std::string& message) {
  const std::size_t separator = message.rfind(": ");
  return separator == std::string::npos ? message : message.substr(separator + 2);
}

Status Unreachable(const Endpoint& endpoint, std::string cause) {
  const int os_error = endpoint.unix_path.empty() ? 0 : ProbeUnixSocket(endpoint.unix_path);
  if (os_error != 0) {
    cause = std::generic_category().message(os_error);
  }
  const std::string hint =
      os_error == EACCES || os_error == EPERM
          ? "your user may not open the socket; join the group that owns it, or use sudo"
          : "start the server with 'systemctl start capstand' or by running 'capstand'; if it "
            "listens elsewhere, name it with --server or CAPSTAN_SERVER";
  return Error(Code::kUnavailable, "unable to reach capstand at {}: {}", endpoint.written, cause)
      .WithOsError(os_error)
      .WithHint(hint);
}

Status Lost(const Endpoint& endpoint, const std::string& cause) {
  return Error(Code::kUnavailable, "lost the connection to capstand at {} in mid-statement: {}",
               endpoint.written, cause)
      .WithHint(
          "what the statement did is not known; a backup that was not committed leaves no medium "
          "behind, and what was interrupted can go on WITH RESTART. When the server is back, "
          "'capstan history' and 'capstan list jobs' tell");
}

constexpr int kLoginFailed = 18456;

Status Refused(const std::string& message) {
  return Error(Code::kUnauthenticated, "{}", message)
      .WithReason(kLoginFailed)
      .WithHint(
          "the server asks for a login and its password; its administrator adds logins with "
          "'capstan login add'");
}

// Why a stream ended without `done`. `reached`: the server is known to have been there.
Status EndedEarly(const Endpoint& endpoint, const grpc::Status& end, bool reached) {
  switch (end.error_code()) {
    case grpc::StatusCode::OK:
      return Error(Code::kInternal, "the server ended the stream without saying how");
    case grpc::StatusCode::UNAVAILABLE:
      return reached ? Lost(endpoint, end.error_message())
                     : Unreachable(endpoint, LastPart(end.error_message()));
    case grpc::StatusCode::UNAUTHENTICATED:
      return Refused(end.error_message());
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Error(Code::kDeadlineExceeded, "the statement took longer than it may");
    case grpc::StatusCode::UNIMPLEMENTED:
      return Unreachable(endpoint, "something else than capstand answers there");
    default:
      return Status(static_cast<Code>(end.error_code()), end.error_message());
  }
}

// One call, and how it ended.
struct Call {
  std::string_view batch;
  const ExecuteOptions& options;
  PartReader& parts;
  bool any_part = false;
  grpc::Status end = grpc::Status::CANCELLED;
};

}  // namespace

struct RequesterClient::Impl {
  Impl(const Endpoint& endpoint, const ClientOptions& client_options)
      : options(client_options),
        channel(OpenChannel(endpoint)),
        stub(v1::Requester::NewStub(channel)) {}

  // True when the channel is up, false when it failed or nothing answered in time.
  bool Connect();
  // Reads the stream to its end. A failure is the server's breach of the protocol.
  Status Run(Call& call) CAPSTAN_EXCLUDES(mutex);
  // False if Cancel was called before.
  bool Begin(grpc::ClientContext* context) CAPSTAN_EXCLUDES(mutex);
  void End() CAPSTAN_EXCLUDES(mutex);
  bool IsCancelled() CAPSTAN_EXCLUDES(mutex);

  const ClientOptions& options;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::Requester::Stub> stub;

  Mutex mutex;
  bool cancelled CAPSTAN_GUARDED_BY(mutex) = false;
  // Of the running call, on Execute's stack; null between calls.
  grpc::ClientContext* running CAPSTAN_GUARDED_BY(mutex) = nullptr;
};

bool RequesterClient::Impl::Connect() {
  const auto deadline = std::chrono::system_clock::now() + options.connect_timeout;
  grpc_connectivity_state state = channel->GetState(true);
  while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE && !IsCancelled()) {
    // Short steps, so that Cancel is noticed.
    const auto step = std::chrono::system_clock::now() + std::chrono::milliseconds(100);
    channel->WaitForStateChange(state, std::min(step, deadline));
    if (std::chrono::system_clock::now() >= deadline) {
      break;
    }
    state = channel->GetState(true);
  }
  return state == GRPC_CHANNEL_READY;
}

Status RequesterClient::Impl::Run(Call& call) {
  v1::ExecuteRequest request;
  request.set_batch(std::string(call.batch));
  const Credentials& credentials = options.credentials;
  request.set_login(credentials.login.empty() ? SystemUserName() : credentials.login);
  if (credentials.password.has_value()) {
    request.set_password(*credentials.password);
  }
  request.set_progress_interval_ms(
      static_cast<std::uint32_t>(call.options.progress_interval.count()));
  grpc::ClientContext context;
  if (call.options.timeout.count() > 0) {
    context.set_deadline(std::chrono::system_clock::now() + call.options.timeout);
  }
  Status breach;
  if (Begin(&context)) {
    const auto reader = stub->Execute(&context, request);
    v1::ExecuteResponse response;
    while (breach.ok() && reader->Read(&response)) {
      call.any_part = true;
      breach = call.parts.Take(response);
    }
    if (!breach.ok()) {
      context.TryCancel();
    }
    call.end = reader->Finish();
  }
  End();
  return breach;
}

bool RequesterClient::Impl::Begin(grpc::ClientContext* context) {
  const MutexLock lock(mutex);
  running = context;
  return !cancelled;
}

void RequesterClient::Impl::End() {
  const MutexLock lock(mutex);
  running = nullptr;
}

bool RequesterClient::Impl::IsCancelled() {
  const MutexLock lock(mutex);
  return cancelled;
}

RequesterClient::RequesterClient(Endpoint endpoint, ClientOptions options)
    : endpoint_(std::move(endpoint)),
      options_(std::move(options)),
      impl_(std::make_unique<Impl>(endpoint_, options_)) {}

RequesterClient::~RequesterClient() = default;

Result<Outcome> RequesterClient::Execute(std::string_view batch, const ExecuteOptions& options,
                                         ResponseSink& sink) {
  CAPSTAN_RETURN_IF_ERROR(CheckBatch(batch));
  CAPSTAN_RETURN_IF_ERROR(CheckCredentials(options_.credentials));
  const bool connected = impl_->Connect();
  if (impl_->IsCancelled()) {
    return Error(Code::kCancelled, "cancelled");
  }
  if (!connected && impl_->channel->GetState(false) == GRPC_CHANNEL_CONNECTING) {
    return Unreachable(endpoint_, fmt::format("no answer within {} s",
                                              options_.connect_timeout / std::chrono::seconds(1)));
  }
  PartReader parts(sink);
  Call call{.batch = batch, .options = options, .parts = parts};
  CAPSTAN_RETURN_IF_ERROR(impl_->Run(call));
  if (parts.done()) {
    return parts.outcome();
  }
  if (impl_->IsCancelled()) {
    return Error(Code::kCancelled, "cancelled");
  }
  return EndedEarly(endpoint_, call.end, connected || call.any_part);
}

void RequesterClient::Cancel() {
  const MutexLock lock(impl_->mutex);
  impl_->cancelled = true;
  if (impl_->running != nullptr) {
    impl_->running->TryCancel();
  }
}

}  // namespace capstan::cli
