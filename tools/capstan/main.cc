// capstan: the command line client. Statements go out, messages, rows and progress come in.
#include <cstdio>
#include <variant>

#include "tools/capstan/command_line.h"
#include "tools/capstan/console.h"
#include "tools/capstan/session.h"
#include "tools/client/interrupt.h"
#include "tools/client/requester_client.h"

int main(int argc, char** argv) {
  using namespace capstan::cli;  // NOLINT(google-build-using-namespace): a main, not a header

  const std::variant<Invocation, Answer> parsed = ParseCommandLine(argc, argv);
  Console console(stdout, stderr);
  if (const Answer* const answer = std::get_if<Answer>(&parsed)) {
    if (answer->status == ExitStatus::kDone) {
      console.Out(answer->text);
    } else {
      console.Error(answer->text);
    }
    return static_cast<int>(answer->status);
  }
  const Invocation& invocation = std::get<Invocation>(parsed);
  Interrupt interrupt;  // before gRPC starts its threads
  Credentials credentials = invocation.credentials;
  if (invocation.ask_password) {
    // Without a terminal there is no password; the server decides whether it needs one.
    const capstan::Result<std::string> password = AskPassword("Password: ");
    if (password.status().code() == capstan::Code::kCancelled) {
      return static_cast<int>(ExitStatus::kFailed);
    }
    if (password.ok()) {
      credentials.password = *password;
    }
  }
  RequesterClient client(invocation.endpoint, {.credentials = std::move(credentials)});
  Session session{client, console, interrupt};
  ExitStatus status = invocation.run(session);
  interrupt.OnInterrupt({});  // the client is about to go
  if (!console.Flush() && status == ExitStatus::kDone) {
    console.Error("capstan: unable to write to standard output\n");
    status = ExitStatus::kFailed;
  }
  return static_cast<int>(status);
}
