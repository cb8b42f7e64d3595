// Session: the frame that is the same for every primary client: create the set, send the statement,
// wait for the configuration, open devices, and in the end judge what happened.
//
// Command line: --backup DATABASE or --restore DATABASE; --log yes for the log; --name NAME of the
// set (default: a fresh UUID); --with OPTIONS, added to the statement; --user, --password. With
// --send no, somebody else sends the statement.
//
// Threads: one.
#pragma once

#include <memory>
#include <string>

#include "arguments.h"
#include "statement.h"
#include "vdi.h"
#include "vdierror.h"

namespace vendor {

class Session {
 public:
  explicit Session(const Arguments& arguments);

  // What the client wishes; afterwards what the server made of it.
  VDConfig config;
  // What stands behind WITH, before --with.
  std::string options;

  bool backup() const { return backup_; }
  ClientVirtualDeviceSet& set() { return set_; }
  // The first device is called as the set, the others have a number behind it.
  std::string device_name(unsigned index) const;

  // Creates the set and sends the statement. False: said why on standard output.
  bool Begin();
  // Waits for the configuration in steps of a second, and looks at the statement in between: if it
  // is over, no configuration will come.
  bool AwaitConfiguration();
  // Null, with a line on standard output, if it fails.
  ClientVirtualDevice* Open(unsigned index);

  // One device's end, as Serve returned it; safe on every thread.
  static void Report(unsigned index, int status);
  // Closes the set, waits for the statement and prints what it said. Returns the exit status: 0 if
  // `all_closed`, which says that every device ended with VD_E_CLOSE, and message 3014 came.
  int End(bool all_closed);

 private:
  std::string StatementText() const;

  const Arguments& arguments_;
  const bool backup_;
  const std::string name_;
  ClientVirtualDeviceSet set_;
  std::unique_ptr<Statement> statement_;
};

std::string NewUuid();
void PrintStatus(const char* call, int status);

}  // namespace vendor
