// HttpClient: HTTP transfers by libcurl, many at once on one thread, connections kept open.
//
// It knows nothing of S3: neither signatures nor retries. The body that is sent, and the place for
// the one that is received, are the caller's until the answer is handed over.
// Threads: Start from any; answers are handed over on the client's own thread (thread_), where
// nothing may block. The destructor ends what is under way as kCancelled.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "plugins/s3/sigv4.h"

namespace capstan::s3 {

struct HttpRequest {
  std::string method;
  std::string url;                 // as it goes over the wire
  std::vector<NameValue> headers;  // Content-Length is set by the client
  std::span<const std::byte> body = {};
  std::span<std::byte> target = {};  // the body of a 2xx answer; nothing here: HttpAnswer::text
  std::string ca_file = {};
  std::chrono::seconds connect_timeout{10};
  std::chrono::seconds stall_timeout{20};  // without 1 KiB/s
  // Once true, the transfer is ended as kCancelled; call Wake after setting it. May be null.
  std::shared_ptr<const std::atomic<bool>> cancelled = nullptr;
  // The transfer fails if it is not over by then.
  std::chrono::steady_clock::time_point end_by = std::chrono::steady_clock::time_point::max();
};

struct HttpAnswer {
  enum class Transport {
    kAnswered,    // there is a status, and the whole body
    kFailed,      // no connection, a broken one, or one that stalled: worth another try
    kUntrusted,   // the server's certificate is not accepted
    kImpossible,  // the request itself cannot be made, or the answer is far too long
    kCancelled,
  };
  Transport transport = Transport::kFailed;
  std::string transport_error = {};
  long status = 0;
  std::vector<NameValue> headers = {};  // names in lower case
  std::string text = {};
  std::size_t received = 0;  // bytes in the target

  // Empty if there is none.
  std::string Header(std::string_view name) const;
};

class HttpClient {
 public:
  using Done = std::function<void(HttpAnswer)>;

  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Begins the transfer after `delay`.
  void Start(HttpRequest request, std::chrono::milliseconds delay, Done done);

  // Makes the client's thread look at HttpRequest::cancelled now.
  void Wake();

 private:
  using Clock = std::chrono::steady_clock;
  struct Exchange;

  void Run();
  void TakeStarted();
  int BeginDue();  // milliseconds until the next one is due, at most some
  void Begin(Exchange* exchange);
  void FinishEnded();
  void FinishCancelled();
  void Finish(Exchange* exchange, int curl_code);
  void CancelAll();

  std::mutex mutex_;
  std::vector<std::unique_ptr<Exchange>> started_;  // guarded by mutex_
  bool stopping_ = false;                           // guarded by mutex_

  // Of the client's thread.
  std::list<std::unique_ptr<Exchange>> waiting_;
  std::list<std::unique_ptr<Exchange>> active_;
  std::vector<void*> idle_handles_;

  void* const multi_;    // CURLM
  std::jthread thread_;  // last: it uses everything above
};

}  // namespace capstan::s3
