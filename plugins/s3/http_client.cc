#include "plugins/s3/http_client.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include <curl/curl.h>

#include "plugins/edge/quiet_thread.h"

namespace capstan::s3 {
namespace {

constexpr int kPollMs = 1'000;
constexpr long kSlowBytesPerSecond = 1'024;
constexpr long kUploadBuffer = 512L << 10;
constexpr long kDownloadBuffer = 512L << 10;
constexpr long kConnectionsMax = 64;  // kept open
constexpr std::size_t kTextMax = 16U << 20;
constexpr long kSuccess = 200;
constexpr long kAfterSuccess = 300;

std::string LowerCase(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return result;
}

std::string_view Trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && blank(text.front())) {
    text.remove_prefix(1);
  }
  while (!text.empty() && blank(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

HttpAnswer::Transport TransportOf(CURLcode code) {
  switch (code) {
    case CURLE_OK:
      return HttpAnswer::Transport::kAnswered;
    case CURLE_ABORTED_BY_CALLBACK:
      return HttpAnswer::Transport::kCancelled;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
      return HttpAnswer::Transport::kUntrusted;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_WRITE_ERROR:
    case CURLE_FAILED_INIT:
      return HttpAnswer::Transport::kImpossible;
    default:
      return HttpAnswer::Transport::kFailed;
  }
}

}  // namespace

std::string HttpAnswer::Header(std::string_view name) const {
  const auto found = std::find_if(headers.begin(), headers.end(),
                                  [&](const NameValue& header) { return header.first == name; });
  return found == headers.end() ? "" : found->second;
}

struct HttpClient::Exchange {
  HttpRequest request;
  Clock::time_point due;
  Done done;

  HttpAnswer answer = {};
  std::size_t sent = 0;
  CURL* handle = nullptr;
  curl_slist* header_list = nullptr;
  char error[CURL_ERROR_SIZE] = {};

  static std::size_t OnRead(char* to, std::size_t size, std::size_t count, void* context) {
    auto& self = *static_cast<Exchange*>(context);
    const std::size_t bytes = std::min(size * count, self.request.body.size() - self.sent);
    if (bytes > 0) {
      std::memcpy(to, self.request.body.data() + self.sent, bytes);
    }
    self.sent += bytes;
    return bytes;
  }

  // libcurl rewinds when a connection that was kept open turns out to be dead.
  static int OnSeek(void* context, curl_off_t offset, int origin) {
    auto& self = *static_cast<Exchange*>(context);
    if (origin != SEEK_SET || offset < 0 ||
        static_cast<std::size_t>(offset) > self.request.body.size()) {
      return CURL_SEEKFUNC_FAIL;
    }
    self.sent = static_cast<std::size_t>(offset);
    return CURL_SEEKFUNC_OK;
  }

  static std::size_t OnWrite(char* from, std::size_t size, std::size_t count, void* context) {
    auto& self = *static_cast<Exchange*>(context);
    const std::size_t bytes = size * count;
    long status = 0;
    curl_easy_getinfo(self.handle, CURLINFO_RESPONSE_CODE, &status);
    if (self.request.target.empty() || status < kSuccess || status >= kAfterSuccess) {
      if (self.answer.text.size() + bytes > kTextMax) {
        return 0;
      }
      self.answer.text.append(from, bytes);
      return bytes;
    }
    if (bytes > self.request.target.size() - self.answer.received) {
      return 0;
    }
    std::memcpy(self.request.target.data() + self.answer.received, from, bytes);
    self.answer.received += bytes;
    return bytes;
  }

  static std::size_t OnHeader(char* from, std::size_t size, std::size_t count, void* context) {
    auto& self = *static_cast<Exchange*>(context);
    const std::string_view line(from, size * count);
    const std::size_t colon = line.find(':');
    if (line.substr(0, 5) == "HTTP/") {
      self.answer.headers.clear();  // of an answer such as 100 before this one
    } else if (colon != std::string_view::npos) {
      self.answer.headers.emplace_back(LowerCase(line.substr(0, colon)),
                                       Trimmed(line.substr(colon + 1)));
    }
    return size * count;
  }

  void SetHeaders() {
    // An empty header takes away what libcurl would add by itself.
    for (const char* const unwanted : {"Expect:", "Accept:", "Content-Type:"}) {
      header_list = curl_slist_append(header_list, unwanted);
    }
    for (const auto& [name, value] : request.headers) {
      header_list = curl_slist_append(header_list, (name + ": " + value).c_str());
    }
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, header_list);
  }

  void SetMethod() {
    if (request.method == "HEAD") {
      curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    } else if (request.method == "PUT" || request.method == "POST") {
      curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE,
                       static_cast<curl_off_t>(request.body.size()));
      curl_easy_setopt(handle, CURLOPT_READFUNCTION, OnRead);
      curl_easy_setopt(handle, CURLOPT_READDATA, this);
      curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, OnSeek);
      curl_easy_setopt(handle, CURLOPT_SEEKDATA, this);
      curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    } else if (request.method != "GET") {
      curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
  }

  void SetTransport() {
    curl_easy_setopt(handle, CURLOPT_PRIVATE, this);
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    // One connection per transfer is faster than many transfers in one.
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBuffer);
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, kDownloadBuffer);
    if (request.end_by != Clock::time_point::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(request.end_by - Clock::now());
      curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS,
                       static_cast<long>(std::max<std::int64_t>(left.count(), 1)));
    }
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT,
                     static_cast<long>(request.connect_timeout.count()));
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, kSlowBytesPerSecond);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME,
                     static_cast<long>(request.stall_timeout.count()));
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, OnWrite);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, OnHeader);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, this);
    if (!request.ca_file.empty()) {
      curl_easy_setopt(handle, CURLOPT_CAINFO, request.ca_file.c_str());
    }
  }
};

HttpClient::HttpClient() : multi_((curl_global_init(CURL_GLOBAL_DEFAULT), curl_multi_init())) {
  if (multi_ == nullptr) {
    return;  // see Start
  }
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kConnectionsMax);
  thread_ = edge::QuietThread([this] { Run(); });
}

HttpClient::~HttpClient() {
  if (multi_ == nullptr) {
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  curl_multi_wakeup(multi_);
  thread_.join();
  for (void* const handle : idle_handles_) {
    curl_easy_cleanup(handle);
  }
  curl_multi_cleanup(multi_);
}

void HttpClient::Start(HttpRequest request, std::chrono::milliseconds delay, Done done) {
  if (multi_ == nullptr) {
    done({.transport = HttpAnswer::Transport::kImpossible,
          .transport_error = "libcurl could not be initialised"});
    return;
  }
  auto exchange = std::make_unique<Exchange>(
      Exchange{std::move(request), Clock::now() + delay, std::move(done)});
  {
    const std::lock_guard lock(mutex_);
    started_.push_back(std::move(exchange));
  }
  curl_multi_wakeup(multi_);
}

void HttpClient::Wake() {
  if (multi_ != nullptr) {
    curl_multi_wakeup(multi_);
  }
}

void HttpClient::Run() {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) {
        break;
      }
    }
    TakeStarted();
    const int wait_ms = BeginDue();
    int running = 0;
    curl_multi_perform(multi_, &running);
    FinishEnded();
    FinishCancelled();
    curl_multi_poll(multi_, nullptr, 0, wait_ms, nullptr);
  }
  TakeStarted();
  CancelAll();
}

void HttpClient::TakeStarted() {
  const std::lock_guard lock(mutex_);
  for (auto& exchange : started_) {
    waiting_.push_back(std::move(exchange));
  }
  started_.clear();
}

int HttpClient::BeginDue() {
  const Clock::time_point now = Clock::now();
  int wait_ms = kPollMs;
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto current = next++;
    if ((*current)->due <= now) {
      active_.splice(active_.end(), waiting_, current);
      Begin(active_.back().get());
    } else {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>((*current)->due - now);
      wait_ms = static_cast<int>(std::min<std::int64_t>(wait_ms, left.count()));
    }
  }
  return wait_ms;
}

void HttpClient::Begin(Exchange* exchange) {
  if (idle_handles_.empty()) {
    exchange->handle = curl_easy_init();
  } else {
    exchange->handle = idle_handles_.back();
    idle_handles_.pop_back();
  }
  if (exchange->handle == nullptr) {
    Finish(exchange, CURLE_OUT_OF_MEMORY);
    return;
  }
  exchange->SetTransport();
  exchange->SetMethod();
  exchange->SetHeaders();
  curl_multi_add_handle(multi_, exchange->handle);
}

void HttpClient::FinishEnded() {
  int left = 0;
  while (const CURLMsg* const message = curl_multi_info_read(multi_, &left)) {
    if (message->msg == CURLMSG_DONE) {
      const CURLcode code = message->data.result;
      char* context = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &context);
      Finish(reinterpret_cast<Exchange*>(context), code);
    }
  }
}

void HttpClient::FinishCancelled() {
  const auto is_cancelled = [](const std::unique_ptr<Exchange>& exchange) {
    return exchange->request.cancelled && exchange->request.cancelled->load();
  };
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    const auto current = next++;
    if (is_cancelled(*current)) {
      active_.splice(active_.end(), waiting_, current);
    }
  }
  // One by one, as a callback may begin others.
  for (auto ended = active_.end();
       (ended = std::find_if(active_.begin(), active_.end(), is_cancelled)) != active_.end();) {
    (*ended)->answer = {};
    Finish(ended->get(), CURLE_ABORTED_BY_CALLBACK);
  }
}

void HttpClient::Finish(Exchange* exchange, int curl_code) {
  const auto code = static_cast<CURLcode>(curl_code);
  HttpAnswer& answer = exchange->answer;
  answer.transport = TransportOf(code);
  if (code != CURLE_OK) {
    answer.transport_error =
        exchange->error[0] != '\0' ? exchange->error : curl_easy_strerror(code);
  }
  if (exchange->handle != nullptr) {
    curl_easy_getinfo(exchange->handle, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_multi_remove_handle(multi_, exchange->handle);
    curl_easy_reset(exchange->handle);
    idle_handles_.push_back(exchange->handle);
  }
  curl_slist_free_all(exchange->header_list);
  const auto place = std::find_if(active_.begin(), active_.end(), [exchange](const auto& active) {
    return active.get() == exchange;
  });
  const std::unique_ptr<Exchange> owned = std::move(*place);
  active_.erase(place);
  owned->done(std::move(owned->answer));
}

void HttpClient::CancelAll() {
  active_.splice(active_.end(), waiting_);
  while (!active_.empty()) {
    Exchange* const exchange = active_.front().get();
    exchange->answer = {};
    Finish(exchange, CURLE_ABORTED_BY_CALLBACK);
  }
}

}  // namespace capstan::s3
