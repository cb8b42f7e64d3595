// ObjectClient: requests to one bucket, signed, and tried again where that can help.
//
// A request fails at once where trying again cannot help (a wrong key, a bucket that is not there);
// a server that is busy, silent or away is asked again, ever more slowly and at random moments,
// until Settings::retry_for_s have passed. Each attempt is signed anew, as signatures expire.
// Threads: any. Answers are handed over on the HttpClient's thread and must not block there.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "plugins/s3/configuration.h"
#include "plugins/s3/failure.h"
#include "plugins/s3/http_client.h"
#include "plugins/s3/server_error.h"

namespace capstan::s3 {

struct ObjectRequest {
  std::string method;
  std::string key = {};  // raw; empty: the bucket itself
  std::vector<NameValue> query = {};
  std::vector<NameValue> headers = {};
  // Borrowed until the answer. Without its MD5 the SHA-256 is computed and sent here.
  std::span<const std::byte> body = {};
  std::string content_md5 = {};      // base64
  std::span<std::byte> target = {};  // for the body of the answer, which must fill it; borrowed
  // The server may think this long before it says a word; 0: Settings::stall_s.
  std::chrono::seconds thinking_time{0};
};

struct ObjectAnswer {
  Failure failure;  // none: the server has done it
  ServerError error;
  HttpAnswer http;
};

class ObjectClient {
 public:
  using Done = std::function<void(ObjectAnswer)>;

  // `http` outlives this; this outlives its requests.
  static Failure Create(HttpClient& http, const MediumUrl& url,
                        std::unique_ptr<ObjectClient>* result);

  const Settings& settings() const { return settings_; }
  const std::string& bucket() const { return bucket_; }

  void Start(ObjectRequest request, Done done);
  // REQUIRES: not on the HttpClient's thread.
  ObjectAnswer Run(ObjectRequest request);

  // Ends what is under way as ECANCELED. What is started afterwards has this long, all together.
  void BreakOff(std::chrono::seconds for_what_follows);

  // Why requests are being tried again, for a person to read; empty if none is.
  std::string Trouble() const;

  // How often anything was tried again, since the start.
  std::uint64_t retries() const { return retries_.load(std::memory_order_relaxed); }

 private:
  struct Attempt;

  ObjectClient(HttpClient& http, std::string bucket, Settings settings, Credentials credentials,
               Place place);
  void Send(std::shared_ptr<Attempt> attempt, std::chrono::milliseconds delay);
  HttpRequest Sign(const ObjectRequest& request) const;
  void Judge(const std::shared_ptr<Attempt>& attempt, HttpAnswer answer);
  void NoteTrouble(const HttpAnswer& answer, const ServerError& error);

  HttpClient& http_;
  const std::string bucket_;
  const Settings settings_;
  const Credentials credentials_;
  const Place place_;
  std::atomic<std::uint64_t> retries_{0};

  mutable std::mutex mutex_;
  // Of the requests that are started now. Guarded by mutex_.
  std::shared_ptr<std::atomic<bool>> broken_off_ = std::make_shared<std::atomic<bool>>(false);
  std::chrono::steady_clock::time_point end_by_ = std::chrono::steady_clock::time_point::max();
  std::string trouble_;                                  // guarded by mutex_
  std::chrono::steady_clock::time_point trouble_since_;  // guarded by mutex_
};

// A request that is tried the n-th time (from 1) after a failure waits this long: doubled each
// time up to five seconds, then anything from half of that to all of it.
std::chrono::milliseconds BackoffOf(int tries, double random);

}  // namespace capstan::s3
