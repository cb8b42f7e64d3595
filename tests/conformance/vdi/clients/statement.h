// Statement: one T-SQL statement on a connection of its own, carried out by sqlcmd while the client
// serves its devices.
//
// Threads: one reads sqlcmd's output, so that it never waits for us; all methods are for the thread
// that made the object.
#pragma once

#include <string>
#include <thread>

#include <sys/types.h>

#include "arguments.h"

namespace vendor {

class Statement {
 public:
  // --user and --password of the arguments, if given, go to sqlcmd.
  Statement(const Arguments& arguments, const std::string& text);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  // Whether it is over already; does not wait.
  bool ended();
  // Waits for the end and returns all that sqlcmd printed.
  const std::string& Wait();
  // The only criterion: message 3014 came, and 3013 did not. RESTORE may report errors that it
  // survives, and a device that was closed in good order proves nothing.
  bool succeeded();

 private:
  void Reap(int options);

  pid_t sqlcmd_ = -1;  // -1 once it was reaped
  int output_pipe_ = -1;
  std::string output_;  // the reader's until Wait has joined it
  std::thread reader_;
};

// As a T-SQL literal, and as a name.
std::string Quoted(const std::string& text);
std::string Bracketed(const std::string& name);

}  // namespace vendor
