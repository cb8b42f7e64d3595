// argv -> what is to be done. CLI11 and its exceptions stay in command_line.cc.
#pragma once

#include <functional>
#include <string>
#include <variant>

#include "tools/capstan/endpoint.h"
#include "tools/capstan/session.h"

namespace capstan::cli {

struct Invocation {
  Endpoint endpoint;
  std::function<ExitStatus(Session&)> run;
};

// Nothing to do but to print: help and version on standard output with kDone, errors on standard
// error with kUsage.
struct Answer {
  ExitStatus status = ExitStatus::kDone;
  std::string text;
};

// Reads the environment (CAPSTAN_SERVER) and the working directory, and nothing else.
std::variant<Invocation, Answer> ParseCommandLine(int argc, const char* const* argv);

}  // namespace capstan::cli
