// ServerError: what a server says went wrong, and what is to be done about it.
//
// Threads: any; pure functions.
#pragma once

#include <string>

#include "plugins/s3/failure.h"
#include "plugins/s3/http_client.h"

namespace capstan::s3 {

struct ServerError {
  std::string code;     // "NoSuchBucket"; empty if the server said nothing in XML
  std::string message;  // its own words
  std::string region;   // where the bucket is instead
  std::string request_id;
};

// Also of an answer with status 200 whose body is an error, as CompleteMultipartUpload may have it.
ServerError ParseServerError(const HttpAnswer& answer);

// What to do with an answer.
enum class Verdict {
  kTake,   // it is one
  kRetry,  // the same request may go well a little later
  kAgain,  // the bytes were damaged on the way: try a few times
  kFail,   // it will never go well
};

Verdict VerdictOn(const HttpAnswer& answer, const ServerError& error);

// For an answer that was not taken. `what` is "GET 's3://bucket/key'"; `bucket` for the advice.
Failure FailureOf(const HttpAnswer& answer, const ServerError& error, const std::string& what,
                  const std::string& bucket);

}  // namespace capstan::s3
