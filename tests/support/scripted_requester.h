// A Requester service that answers from a script, for tests of what talks to the real one.
//
// Rules are tried in the order of their making; the first whose text occurs in the batch answers.
// A batch that no rule fits is answered with error 102, so that a test cannot pass by accident.
// Threads: any. The destructor cancels what still runs.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "capstan/v1/requester.pb.h"

namespace capstan::test {

// How a scripted answer ends.
enum class Ending {
  kSucceeded,      // done, succeeded
  kFailed,         // done, not succeeded
  kNoDone,         // the stream ends well but without `done`: a broken server
  kStopping,       // UNAVAILABLE, as a server that is going down
  kHangs,          // nothing more, until the requester cancels
  kProcessDies,    // the process is gone without a word
  kProcessFreezes  // the process stops (SIGSTOP), its sockets stay open
};

class ScriptedRequester {
 public:
  // `address` as gRPC takes it: "unix:/path" or "127.0.0.1:0". Aborts if it cannot listen.
  explicit ScriptedRequester(const std::string& address);
  ~ScriptedRequester();
  ScriptedRequester(const ScriptedRequester&) = delete;
  ScriptedRequester& operator=(const ScriptedRequester&) = delete;

  // The port that was chosen for "127.0.0.1:0".
  int port() const;

  void Answer(std::string batch_contains, std::vector<v1::ExecuteResponse> parts,
              Ending ending = Ending::kSucceeded);

  // Every request so far.
  std::vector<v1::ExecuteRequest> Requests() const;
  // The batch of the only request; aborts if there is not exactly one.
  std::string OnlyBatch() const;

  // Waits until a hanging answer has begun, or has been cancelled; false if it takes longer.
  bool WaitForHanging(std::chrono::seconds timeout) const;
  bool WaitForCancelled(std::chrono::seconds timeout) const;

 private:
  class Service;

  std::unique_ptr<Service> service_;
};

// Parts of an answer.
v1::ExecuteResponse Information(std::string text, int number = 0);
v1::ExecuteResponse ErrorMessage(int number, std::string text, std::string hint = "");
// "name type" per column, for example {"name nvarchar(128)", "database_id int"}.
v1::ExecuteResponse Columns(const std::vector<std::string>& columns);
// A value of nullptr is NULL.
v1::ExecuteResponse Values(const std::vector<const char*>& values);
// A job with one device "/backup/a.bak" of the agent "disk".
v1::ExecuteResponse ProgressAt(double percent, std::uint64_t bytes_done, std::uint64_t bytes_total);

}  // namespace capstan::test
