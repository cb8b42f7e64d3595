#include "plugins/s3/object_client.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <future>
#include <random>
#include <string_view>
#include <utility>

#include "plugins/s3/digest.h"

namespace capstan::s3 {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kBackoffMin{100};
constexpr std::chrono::milliseconds kBackoffMax{5'000};
constexpr std::chrono::seconds kRetryAfterMax{60};
constexpr int kDamagedMax = 3;  // attempts that may arrive damaged

double Random() {
  thread_local std::minstd_rand generator(std::random_device{}());
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

std::string PayloadHash(const ObjectRequest& request) {
  if (!request.content_md5.empty()) {
    return "UNSIGNED-PAYLOAD";  // the MD5 is signed instead
  }
  return HexOf(Sha256({reinterpret_cast<const char*>(request.body.data()), request.body.size()}));
}

std::chrono::milliseconds RetryAfter(const HttpAnswer& answer) {
  const std::string text = answer.Header("retry-after");
  const long seconds = std::strtol(text.c_str(), nullptr, 10);  // a date is 0: our own delay
  return std::min<std::chrono::seconds>(std::chrono::seconds(std::max(seconds, 0L)),
                                        kRetryAfterMax);
}

}  // namespace

struct ObjectClient::Attempt {
  ObjectRequest request;
  Done done;
  Clock::time_point give_up_at;
  Clock::time_point end_by;
  std::shared_ptr<const std::atomic<bool>> broken_off;
  int tries = 0;
  int damaged = 0;
};

std::chrono::milliseconds BackoffOf(int tries, double random) {
  std::chrono::milliseconds backoff = kBackoffMin;
  for (int i = 1; i < tries && backoff < kBackoffMax; ++i) {
    backoff *= 2;
  }
  backoff = std::min(backoff, kBackoffMax);
  return backoff / 2 + std::chrono::milliseconds(static_cast<std::int64_t>(
                           random * static_cast<double>(backoff.count() / 2)));
}

ObjectClient::ObjectClient(HttpClient& http, std::string bucket, Settings settings,
                           Credentials credentials, Place place)
    : http_(http),
      bucket_(std::move(bucket)),
      settings_(std::move(settings)),
      credentials_(std::move(credentials)),
      place_(std::move(place)) {}

Failure ObjectClient::Create(HttpClient& http, const MediumUrl& url,
                             std::unique_ptr<ObjectClient>* result) {
  Settings settings;
  Credentials credentials;
  Place place;
  Failure failure = CheckDigests();
  if (!failure.failed()) {
    failure = LoadSettings(url, &settings);
  }
  if (!failure.failed()) {
    failure = LoadCredentials(url, &credentials);
  }
  if (!failure.failed()) {
    failure = PlaceOf(url, settings, &place);
  }
  if (failure.failed()) {
    return failure;
  }
  result->reset(new ObjectClient(http, url.bucket, std::move(settings), std::move(credentials),
                                 std::move(place)));
  return Failure::None();
}

void ObjectClient::Start(ObjectRequest request, Done done) {
  auto attempt = std::make_shared<Attempt>();
  attempt->request = std::move(request);
  attempt->done = std::move(done);
  {
    const std::lock_guard lock(mutex_);
    attempt->broken_off = broken_off_;
    attempt->end_by = end_by_;
  }
  attempt->give_up_at =
      std::min(Clock::now() + std::chrono::seconds(settings_.retry_for_s), attempt->end_by);
  Send(std::move(attempt), std::chrono::milliseconds(0));
}

ObjectAnswer ObjectClient::Run(ObjectRequest request) {
  std::promise<ObjectAnswer> promise;
  std::future<ObjectAnswer> answer = promise.get_future();
  Start(std::move(request), [&promise](ObjectAnswer got) { promise.set_value(std::move(got)); });
  return answer.get();  // bounded: by retry_for_s and the timeouts of each attempt
}

void ObjectClient::Send(std::shared_ptr<Attempt> attempt, std::chrono::milliseconds delay) {
  ++attempt->tries;
  HttpRequest signed_request = Sign(attempt->request);
  signed_request.cancelled = attempt->broken_off;
  signed_request.end_by = attempt->end_by;
  http_.Start(std::move(signed_request), delay,
              [this, attempt](HttpAnswer answer) { Judge(attempt, std::move(answer)); });
}

HttpRequest ObjectClient::Sign(const ObjectRequest& request) const {
  SignedRequest to_sign{.method = request.method,
                        .path = place_.prefix + "/" + request.key,
                        .query = request.query,
                        .headers = request.headers,
                        .payload_hash = PayloadHash(request)};
  if (request.key.empty() && !place_.prefix.empty()) {
    to_sign.path = place_.prefix;
  }
  const SigningScope scope{.region = settings_.region,
                           .timestamp = TimestampOf(std::chrono::system_clock::now())};
  to_sign.headers.emplace_back("Host", place_.host);
  to_sign.headers.emplace_back("X-Amz-Date", scope.timestamp);
  to_sign.headers.emplace_back("X-Amz-Content-Sha256", to_sign.payload_hash);
  if (!request.content_md5.empty()) {
    to_sign.headers.emplace_back("Content-MD5", request.content_md5);
  }
  if (!credentials_.session_token.empty()) {
    to_sign.headers.emplace_back("X-Amz-Security-Token", credentials_.session_token);
  }
  const std::string query = QueryText(request.query);
  HttpRequest http{
      .method = request.method,
      .url = place_.origin + EncodeUriPath(to_sign.path) + (query.empty() ? "" : "?" + query),
      .headers = to_sign.headers,
      .body = request.body,
      .target = request.target,
      .ca_file = settings_.ca_file,
      .connect_timeout = std::chrono::seconds(settings_.connect_timeout_s),
      .stall_timeout = std::max(std::chrono::seconds(settings_.stall_s), request.thinking_time)};
  http.headers.emplace_back("Authorization", AuthorizationOf(to_sign, scope, credentials_));
  return http;
}

void ObjectClient::Judge(const std::shared_ptr<Attempt>& attempt, HttpAnswer answer) {
  const ObjectRequest& request = attempt->request;
  ServerError error = ParseServerError(answer);
  Verdict verdict = VerdictOn(answer, error);
  if (verdict == Verdict::kTake && answer.received < request.target.size()) {
    answer.transport = HttpAnswer::Transport::kFailed;
    answer.transport_error = "the answer is " + std::to_string(answer.received) + " bytes, not " +
                             std::to_string(request.target.size());
    verdict = Verdict::kRetry;
  }
  if (verdict == Verdict::kAgain && ++attempt->damaged >= kDamagedMax) {
    verdict = Verdict::kFail;
  }
  if (verdict == Verdict::kRetry || verdict == Verdict::kAgain) {
    const auto delay = std::max(BackoffOf(attempt->tries, Random()), RetryAfter(answer));
    if (attempt->broken_off->load()) {
      answer.transport = HttpAnswer::Transport::kCancelled;  // whatever the server said meanwhile
    } else if (Clock::now() + delay < attempt->give_up_at) {
      retries_.fetch_add(1, std::memory_order_relaxed);
      NoteTrouble(answer, error);
      Send(attempt, delay);
      return;
    }
  }
  {
    const std::lock_guard lock(mutex_);
    trouble_.clear();
  }
  ObjectAnswer result;
  if (verdict != Verdict::kTake) {
    result.failure =
        FailureOf(answer, error,
                  request.method + " of 's3://" + bucket_ +
                      (request.key.empty() ? "" : "/" + request.key) + "' at " + place_.origin,
                  bucket_);
    if (attempt->tries > 1) {
      result.failure.message += " (tried " + std::to_string(attempt->tries) + " times)";
    }
  }
  result.error = std::move(error);
  result.http = std::move(answer);
  attempt->done(std::move(result));
}

void ObjectClient::BreakOff(std::chrono::seconds for_what_follows) {
  {
    const std::lock_guard lock(mutex_);
    broken_off_->store(true);
    broken_off_ = std::make_shared<std::atomic<bool>>(false);
    end_by_ = Clock::now() + for_what_follows;
  }
  http_.Wake();
}

void ObjectClient::NoteTrouble(const HttpAnswer& answer, const ServerError& error) {
  const bool answered = answer.transport == HttpAnswer::Transport::kAnswered;
  const std::lock_guard lock(mutex_);
  if (trouble_.empty()) {
    trouble_since_ = Clock::now();
  }
  trouble_ = answered ? "the server answers " + std::to_string(answer.status) +
                            (error.code.empty() ? "" : " " + error.code)
                      : answer.transport_error;
}

std::string ObjectClient::Trouble() const {
  const std::lock_guard lock(mutex_);
  const auto since =
      std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - trouble_since_);
  return trouble_.empty() ? "" : trouble_ + ", tried for " + std::to_string(since.count()) + " s";
}

}  // namespace capstan::s3
