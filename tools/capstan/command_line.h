// argv -> what is to be done. CLI11 and its exceptions stay in command_line.cc.
#pragma once

#include <functional>
#include <string>
#include <variant>

#include "tools/capstan/session.h"
#include "tools/client/credentials.h"
#include "tools/client/endpoint.h"

namespace capstan::cli {

struct Invocation {
  Endpoint endpoint;
  Credentials credentials;
  bool ask_password = false;  // a login without a password in the environment
  std::function<ExitStatus(Session&)> run;
};

// Nothing to do but to print: help and version on standard output with kDone, errors on standard
// error with kUsage.
struct Answer {
  ExitStatus status = ExitStatus::kDone;
  std::string text;
};

// Reads the environment (CAPSTAN_SERVER, CAPSTAN_USER, CAPSTAN_PASSWORD) and the working directory,
// and nothing else.
std::variant<Invocation, Answer> ParseCommandLine(int argc, const char* const* argv);

}  // namespace capstan::cli
