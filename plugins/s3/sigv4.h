// SigV4: the signature of a request as AWS describes it in "Signature Version 4".
//
// A pure function of the request, the key and the time, so that the published examples are its
// test. All that is signed is handed over raw and encoded here, once and for all: what goes over
// the wire must be made by EncodeUriPath and QueryText too.
// Threads: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace capstan::s3 {

using NameValue = std::pair<std::string, std::string>;

struct Credentials {
  std::string access_key;
  std::string secret_key;
  std::string session_token = {};  // temporary keys only
};

struct SignedRequest {
  std::string method;
  std::string path;                // raw, begins with '/'
  std::vector<NameValue> query;    // raw, any order; a value may be empty
  std::vector<NameValue> headers;  // everything that is signed, Host and X-Amz-Date included
  std::string payload_hash;        // hex SHA-256, or "UNSIGNED-PAYLOAD"
};

struct SigningScope {
  std::string region;
  std::string service = "s3";
  std::string timestamp = {};  // "20130524T000000Z"
};

// "20130524T000000Z"
std::string TimestampOf(std::chrono::system_clock::time_point when);

// "2013-05-24T00:00:00Z"
std::string UtcText(std::int64_t unix_s);

// "a=1&b=": sorted and encoded, as it is signed and as it is sent.
std::string QueryText(const std::vector<NameValue>& query);

// The three steps, the last of which is the value of the header Authorization.
std::string CanonicalRequestOf(const SignedRequest& request);
std::string SignatureOf(const SignedRequest& request, const SigningScope& scope,
                        const Credentials& credentials);
std::string AuthorizationOf(const SignedRequest& request, const SigningScope& scope,
                            const Credentials& credentials);

}  // namespace capstan::s3
