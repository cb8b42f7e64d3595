#include "tools/sqlcmd/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "tools/client/text_width.h"
#include "tools/sqlcmd/usage.h"

namespace capstan::sqlcmd {
namespace {

enum class Argument {
  kNone,
  kNeeded,    // attached to the letter, or the next argument
  kAttached,  // attached to the letter or not at all: -r1, -Nm
};

enum class Meaning {
  kSets,     // changes an option
  kIgnored,  // about something that a local server does not have
  kRefused,  // sqlcmd has it, and to ignore it would be a lie
};

struct Switch {
  char letter;
  Argument argument = Argument::kNone;
  Meaning meaning = Meaning::kSets;
};

constexpr std::array kSwitches = std::to_array<Switch>({
    {'?'},
    {'A', Argument::kNone, Meaning::kIgnored},  // dedicated administrator connection
    {'C', Argument::kNone, Meaning::kIgnored},  // trust the server's certificate
    {'D', Argument::kNone, Meaning::kRefused},  // -S names a data source
    {'E'},
    {'G', Argument::kNone, Meaning::kRefused},    // Azure Active Directory
    {'H', Argument::kNeeded, Meaning::kIgnored},  // name of the workstation
    {'I', Argument::kNone, Meaning::kIgnored},    // quoted identifiers are always on
    {'K', Argument::kNeeded, Meaning::kIgnored},  // application intent
    {'L', Argument::kAttached, Meaning::kRefused},
    {'M', Argument::kNone, Meaning::kIgnored},      // multi-subnet failover
    {'N', Argument::kAttached, Meaning::kIgnored},  // encryption
    {'P', Argument::kNeeded},
    {'Q', Argument::kNeeded},
    {'R', Argument::kNone, Meaning::kIgnored},  // regional settings
    {'S', Argument::kNeeded},
    {'U', Argument::kNeeded},
    {'V', Argument::kNeeded},
    {'W'},
    {'X', Argument::kAttached,
     Meaning::kIgnored},  // there are no start-up scripts, no !! and no ED
    {'Y', Argument::kNeeded},
    {'Z', Argument::kNeeded, Meaning::kRefused},  // new password
    {'a', Argument::kNeeded, Meaning::kIgnored},  // packet size
    {'b'},
    {'c', Argument::kNeeded, Meaning::kRefused},  // another word for GO
    {'d', Argument::kNeeded, Meaning::kIgnored},  // statements name their database
    {'e'},
    {'f', Argument::kNeeded, Meaning::kRefused},  // code page
    {'g', Argument::kNone, Meaning::kIgnored},    // column encryption
    {'h', Argument::kNeeded},
    {'i', Argument::kNeeded},
    {'j', Argument::kNone, Meaning::kIgnored},      // errors are raw
    {'k', Argument::kAttached, Meaning::kIgnored},  // control characters are always replaced
    {'l', Argument::kNeeded},
    {'m', Argument::kNeeded},
    {'o', Argument::kNeeded},
    {'p', Argument::kAttached, Meaning::kRefused},  // statistics
    {'q', Argument::kNeeded},
    {'r', Argument::kAttached},
    {'s', Argument::kNeeded},
    {'t', Argument::kNeeded},
    {'u', Argument::kNone, Meaning::kRefused},  // UTF-16 output
    {'v', Argument::kNeeded},
    {'w', Argument::kNeeded},
    {'x'},
    {'y', Argument::kNeeded},
    {'z', Argument::kNeeded, Meaning::kRefused},  // new password
});

const Switch* FindSwitch(char letter) {
  const auto* const found = std::find_if(kSwitches.begin(), kSwitches.end(),
                                         [&](const Switch& s) { return s.letter == letter; });
  return found != kSwitches.end() ? found : nullptr;
}

Status Wrong(std::string_view what, std::string_view why) {
  return Error(Code::kInvalidArgument, "'{}': {} Enter '-?' for help.", what, why);
}

// Takes the arguments one by one, and then puts together what they mean.
class Parser {
 public:
  Parser(const std::vector<std::string>& arguments, const Environment& environment)
      : arguments_(arguments), environment_(environment) {
    options_.variables = Variables(environment);
  }

  bool help() const { return help_; }

  Status Parse() {
    while (position_ < arguments_.size() && !help_) {
      const std::string& argument = arguments_[position_++];
      if (argument.size() < 2 || argument[0] != '-') {
        return Wrong(argument, "Unexpected argument.");
      }
      CAPSTAN_RETURN_IF_ERROR(ParseCluster(argument));
    }
    return help_ ? OkStatus() : CheckConflicts();
  }

  Result<Options> Finish() {
    const std::string server = server_.value_or(environment_("SQLCMDSERVER").value_or(""));
    CAPSTAN_ASSIGN_OR_RETURN(options_.endpoint, ServerEndpoint(server, environment_));
    FinishCredentials();
    return std::move(options_);
  }

 private:
  // Switches without a value may stand behind one hyphen: -bW, -bQ "..." too.
  Status ParseCluster(const std::string& argument) {
    for (std::size_t i = 1; i < argument.size(); ++i) {
      const Switch* const found = FindSwitch(argument[i]);
      const std::string name = std::string("-") + argument[i];
      if (found == nullptr) {
        return Wrong(name, "Unknown Option.");
      }
      std::string value;
      if (found->argument != Argument::kNone) {
        value = argument.substr(i + 1);
        i = argument.size();
      }
      if (found->argument == Argument::kNeeded && value.empty()) {
        // -P at the end of the line is an empty password.
        if (position_ == arguments_.size() && found->letter != 'P') {
          return Wrong(name, "Missing argument.");
        }
        value = position_ < arguments_.size() ? arguments_[position_++] : "";
      }
      if (found->meaning == Meaning::kRefused) {
        return Wrong(name, "Capstan does not support this option.");
      }
      if (found->meaning == Meaning::kSets) {
        CAPSTAN_RETURN_IF_ERROR(Apply(found->letter, std::move(value)));
      }
    }
    return OkStatus();
  }

  Status Apply(char letter, std::string value) {
    switch (letter) {
      case '?':
        help_ = true;
        return OkStatus();
      case 'E':
        trusted_ = true;
        return OkStatus();
      case 'P':
        options_.credentials.password = std::move(value);
        return OkStatus();
      case 'S':
        server_ = std::move(value);
        return OkStatus();
      case 'U':
        options_.credentials.login = std::move(value);
        return OkStatus();
      case 'Q':
        options_.exit_after_query = true;
        options_.query = std::move(value);
        return OkStatus();
      case 'q':
        options_.query = std::move(value);
        return OkStatus();
      case 'i':
        return AddInputFiles(value);
      case 'o':
        options_.output_file = std::move(value);
        return OkStatus();
      case 'v':
        return SetVariables(std::move(value));
      default:
        return ApplyFormat(letter, value);
    }
  }

  Status ApplyFormat(char letter, const std::string& value) {
    LayoutOptions& layout = options_.layout;
    switch (letter) {
      case 'W':
        layout.trim = true;
        return OkStatus();
      case 'b':
        options_.stop_on_error = true;
        return OkStatus();
      case 'e':
        options_.echo = true;
        return OkStatus();
      case 'x':
        options_.variables.Disable();
        return OkStatus();
      case 'r':
        return ApplyRedirection(value);
      case 's':
        layout.separator = value;
        return cli::IsUtf8(value) ? OkStatus() : Wrong("-s", "The separator is not UTF-8.");
      case 'h':
        return Number('h', value, -1, 1 << 30, &layout.header_every);
      case 'w':
        return Number('w', value, 9, 65535, &layout.screen_width);
      case 'y':
        widths_given_ = true;
        return Number('y', value, 0, 8000, &layout.variable_width);
      case 'Y':
        widths_given_ = true;
        return Number('Y', value, 0, 8000, &layout.fixed_width);
      default:
        return ApplyNumber(letter, value);
    }
  }

  Status ApplyNumber(char letter, const std::string& value) {
    int number = 0;
    switch (letter) {
      case 'V':
        CAPSTAN_RETURN_IF_ERROR(Number('V', value, -1, 25, &number));
        options_.exit_severity = number;
        return OkStatus();
      case 'm':
        return Number('m', value, -1, 25, &options_.print_severity);
      case 'l':
        CAPSTAN_RETURN_IF_ERROR(Number('l', value, 0, 65534, &number));
        // 0 means to wait for ever; a server on this machine answers before that.
        options_.login_timeout = std::chrono::seconds(number == 0 ? 65534 : number);
        return OkStatus();
      case 't':
        CAPSTAN_RETURN_IF_ERROR(Number('t', value, 0, 65534, &number));
        options_.query_timeout = std::chrono::seconds(number);
        return OkStatus();
      default:
        return Wrong(std::string("-") + letter, "Unknown Option.");
    }
  }

  static Status Number(char letter, const std::string& value, int min, int max, int* out) {
    const char* const end = value.data() + value.size();
    const auto parsed = std::from_chars(value.data(), end, *out);
    if (parsed.ec != std::errc() || parsed.ptr != end || *out < min || *out > max) {
      return Wrong(fmt::format("-{} {}", letter, value),
                   fmt::format("value must be a number from {} to {}.", min, max));
    }
    return OkStatus();
  }

  Status ApplyRedirection(const std::string& value) {
    if (!value.empty() && value != "0" && value != "1") {
      return Wrong("-r" + value, "Invalid argument.");
    }
    options_.standard_error = value == "1" ? StandardError::kAllMessages : StandardError::kErrors;
    return OkStatus();
  }

  // "a.sql,b.sql"; a name with a comma stands in quotes.
  Status AddInputFiles(std::string_view list) {
    while (!list.empty()) {
      const bool quoted = list.front() == '"';
      const std::size_t begin = quoted ? 1 : 0;
      const std::size_t end = std::min(list.find(quoted ? '"' : ',', begin), list.size());
      options_.input_files.emplace_back(list.substr(begin, end - begin));
      list.remove_prefix(end);
      list.remove_prefix(std::min(list.size(), std::size_t{quoted ? 1U : 0U}));
      list.remove_prefix(std::min(list.size(), std::size_t{1}));
    }
    return options_.input_files.empty() ? Wrong("-i", "Missing argument.") : OkStatus();
  }

  // -v name=value [name=value ...]
  Status SetVariables(std::string assignment) {
    for (;;) {
      const std::size_t equals = assignment.find('=');
      const Status set =
          equals == std::string::npos
              ? Error(Code::kInvalidArgument, "no value")
              : options_.variables.Set(assignment.substr(0, equals), assignment.substr(equals + 1));
      if (!set.ok()) {
        return Wrong("-v " + assignment, "Invalid argument.");
      }
      const bool more = position_ < arguments_.size() && !arguments_[position_].starts_with('-') &&
                        arguments_[position_].find('=') != std::string::npos;
      if (!more) {
        return OkStatus();
      }
      assignment = arguments_[position_++];
    }
  }

  Status CheckConflicts() const {
    const auto exclusive = [](std::string_view a, std::string_view b) {
      return Error(Code::kInvalidArgument, "The {} and {} options are mutually exclusive.", a, b);
    };
    if (options_.query.has_value() && !options_.input_files.empty()) {
      return exclusive("-i", "the -Q/-q");
    }
    if (trusted_ && (!options_.credentials.login.empty() || options_.credentials.password)) {
      return exclusive("-E", "the -U/-P");
    }
    if (options_.layout.trim && widths_given_) {
      return exclusive("-W", "-y/-Y");
    }
    return OkStatus();
  }

  void FinishCredentials() {
    cli::Credentials& credentials = options_.credentials;
    if (trusted_) {
      return;
    }
    const auto first_of = [&](const char* a, const char* b) {
      const auto value = environment_(a);
      return value.has_value() ? value : environment_(b);
    };
    if (credentials.login.empty()) {
      credentials.login = first_of("SQLCMDUSER", "CAPSTAN_USER").value_or("");
    }
    if (!credentials.password.has_value()) {
      credentials.password = first_of("SQLCMDPASSWORD", "CAPSTAN_PASSWORD");
    }
    options_.ask_password = !credentials.login.empty() && !credentials.password.has_value();
  }

  const std::vector<std::string>& arguments_;
  const Environment& environment_;
  std::size_t position_ = 0;
  bool help_ = false;
  bool trusted_ = false;
  bool widths_given_ = false;
  std::optional<std::string> server_;
  Options options_;
};

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

bool IsLocal(std::string_view server) {
  constexpr std::array kLocal =
      std::to_array<std::string_view>({"", ".", "(local)", "localhost", "127.0.0.1", "::1"});
  return std::any_of(kLocal.begin(), kLocal.end(),
                     [&](std::string_view name) { return EqualsIgnoreCase(name, server); });
}

}  // namespace

Result<cli::Endpoint> ServerEndpoint(std::string_view server, const Environment& environment) {
  if (server.starts_with("unix:") || server.starts_with('/')) {
    return cli::ParseEndpoint(server);
  }
  if (const std::size_t slash = server.find('\\'); slash != std::string_view::npos) {
    return Error(Code::kInvalidArgument, "there is no named instance '{}'",
                 server.substr(slash + 1))
        .WithHint(
            "a host has one Capstan server: -S . for the usual one, -S unix:PATH for one that "
            "listens elsewhere");
  }
  std::string_view host = server;
  for (const std::string_view protocol : {"tcp:", "lpc:", "np:"}) {
    if (host.size() >= protocol.size() &&
        EqualsIgnoreCase(host.substr(0, protocol.size()), protocol)) {
      host.remove_prefix(protocol.size());
    }
  }
  if (IsLocal(host)) {
    return cli::ParseEndpoint(
        environment("CAPSTAN_SERVER").value_or(std::string(cli::kDefaultServer)));
  }
  std::string address(host);
  std::replace(address.begin(), address.end(), ',', ':');  // sqlcmd's "host,port"
  Result<cli::Endpoint> endpoint = cli::ParseEndpoint(address);
  if (!endpoint.ok()) {
    return Error(Code::kInvalidArgument, "'{}' is not the address of a Capstan server", server)
        .WithHint("write -S . for the server of this host, -S unix:PATH or -S HOST,PORT");
  }
  return endpoint;
}

std::variant<Options, Answer> ParseOptions(const std::vector<std::string>& arguments,
                                           const Environment& environment) {
  if (arguments == std::vector<std::string>{"--version"}) {
    return Answer{kExitDone, "sqlcmd of Capstan " CAPSTAN_VERSION "\n"};
  }
  Parser parser(arguments, environment);
  if (const Status status = parser.Parse(); !status.ok()) {
    return Answer{kExitFailed, fmt::format("Sqlcmd: {}\n", status.message())};
  }
  if (parser.help()) {
    return Answer{kExitDone, std::string(kUsage)};
  }
  Result<Options> options = parser.Finish();
  if (!options.ok()) {
    const Status status = options.status();
    std::string text = fmt::format("Sqlcmd: Error: Capstan client : {}.\n", status.message());
    if (!status.hint().empty()) {
      text += fmt::format("HINT: {}\n", status.hint());
    }
    return Answer{kExitFailed, std::move(text)};
  }
  return *std::move(options);
}

}  // namespace capstan::sqlcmd
