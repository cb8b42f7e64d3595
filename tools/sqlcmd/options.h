// sqlcmd's switches -> what is to be done. Reads nothing but its arguments and the environment that
// it is given.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tools/client/credentials.h"
#include "tools/client/endpoint.h"
#include "tools/sqlcmd/result_layout.h"
#include "tools/sqlcmd/variables.h"

namespace capstan::sqlcmd {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;  // usage, no server, no login; with -b a failed batch

// -r: which messages go to standard error instead of standard output.
enum class StandardError { kNothing, kErrors, kAllMessages };

struct Options {
  cli::Endpoint endpoint;
  cli::Credentials credentials;
  bool ask_password = false;  // -U without a password anywhere

  std::optional<std::string> query;        // -q, -Q
  bool exit_after_query = false;           // -Q
  std::vector<std::string> input_files;    // -i
  std::optional<std::string> output_file;  // -o
  bool echo = false;                       // -e
  Variables variables;                     // -v, -x
  std::chrono::seconds login_timeout{5};   // -l
  std::chrono::seconds query_timeout{0};   // -t; 0 = none

  bool stop_on_error = false;        // -b
  std::optional<int> exit_severity;  // -V: errors below it do not count
  int print_severity = 0;            // -m: errors below it are not printed
  StandardError standard_error = StandardError::kNothing;
  LayoutOptions layout;  // -h -s -w -W -y -Y
};

// Nothing to do but to print: -? on standard output, everything else on standard error.
struct Answer {
  int exit_status = kExitFailed;
  std::string text;
};

// The value of a variable of the environment, or nullopt.
using Environment = std::function<std::optional<std::string>(const char* name)>;

std::variant<Options, Answer> ParseOptions(const std::vector<std::string>& arguments,
                                           const Environment& environment);

// -S -> where the server listens. ".", "(local)", "localhost" and "" are the local server: the
// environment's CAPSTAN_SERVER, else the default socket. kInvalidArgument: a named instance, or a
// host without a port.
Result<cli::Endpoint> ServerEndpoint(std::string_view server, const Environment& environment);

}  // namespace capstan::sqlcmd
