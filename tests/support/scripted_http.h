// ScriptedHttp: an HTTP server on loopback that answers as a test says, and misbehaves as a test
// says: answers that never come, break off, or are cut short.
//
// Threads: one that accepts and one per connection, all owned here; the script is called by one of
// them at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "vdi/base/mutex.h"
#include "vdi/base/unique_fd.h"

namespace capstan::test {

struct ScriptedRequest {
  std::string method;
  std::string target;                          // path and query as they came
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

struct ScriptedReply {
  enum class Fault {
    kNone,
    kDrop,   // the connection is closed instead of an answer
    kCut,    // half of the body, then the connection is closed
    kStall,  // nothing, until the client has gone away or the server ends
  };
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  Fault fault = Fault::kNone;
};

class ScriptedHttp {
 public:
  using Script = std::function<ScriptedReply(const ScriptedRequest& request)>;

  explicit ScriptedHttp(Script script);
  ~ScriptedHttp();
  ScriptedHttp(const ScriptedHttp&) = delete;
  ScriptedHttp& operator=(const ScriptedHttp&) = delete;

  std::string endpoint() const;  // "http://127.0.0.1:port"
  int request_count() CAPSTAN_EXCLUDES(mutex_);

 private:
  void Accept();
  void Serve(const UniqueFd& connection);
  // False: the connection ended.
  bool ReadRequest(int connection, std::string* pending, ScriptedRequest* request);
  bool Answer(int connection, const ScriptedRequest& request, const ScriptedReply& reply);

  const Script script_;
  UniqueFd listener_;
  UniqueFd stop_;  // an eventfd: readable once the server ends
  std::uint16_t port_ = 0;
  Mutex mutex_;
  int request_count_ CAPSTAN_GUARDED_BY(mutex_) = 0;
  std::vector<std::jthread> connections_;  // of the accepting thread
  std::jthread acceptor_;
};

}  // namespace capstan::test
