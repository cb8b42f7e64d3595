#include "session.h"

#include <cstdio>
#include <cstring>
#include <fstream>

#include <sys/stat.h>

namespace vendor {

std::string NewUuid() {
  std::string uuid;
  std::ifstream("/proc/sys/kernel/random/uuid") >> uuid;
  return uuid;
}

void PrintStatus(const char* call, int status) {
  std::printf("%s: x%X\n", call, static_cast<unsigned>(status));
  std::fflush(stdout);
}

Session::Session(const Arguments& arguments)
    : options(arguments.Has("backup") ? "FORMAT" : "REPLACE"),
      arguments_(arguments),
      backup_(arguments.Has("backup")),
      name_(arguments.Get("name", NewUuid())) {
  umask(0);
  std::memset(&config, 0, sizeof config);
  config.deviceCount = 1;
}

std::string Session::device_name(unsigned index) const {
  return index == 0 ? name_ : name_ + std::to_string(index + 1);
}

bool Session::Begin() {
  std::string name = name_;
  const int status = set_.Create(&name[0], &config);
  if (status != 0) {
    PrintStatus("Create failed", status);
    return false;
  }
  if (arguments_.Get("send") == "no") {
    std::printf("Created\n");
    std::fflush(stdout);
  } else {
    statement_.reset(new Statement(arguments_, StatementText()));
  }
  return true;
}

std::string Session::StatementText() const {
  const std::string database = arguments_.Required(backup_ ? "backup" : "restore");
  std::string text = backup_ ? "BACKUP " : "RESTORE ";
  text += (arguments_.Has("log") ? "LOG " : "DATABASE ") + Bracketed(database);
  text += backup_ ? " TO " : " FROM ";
  for (unsigned i = 0; i < config.deviceCount; ++i) {
    text += (i == 0 ? "VIRTUAL_DEVICE=" : ", VIRTUAL_DEVICE=") + Quoted(device_name(i));
  }
  text += " WITH " + options;
  return arguments_.Has("with") ? text + ", " + arguments_.Get("with") : text;
}

bool Session::AwaitConfiguration() {
  int status;
  while ((status = set_.GetConfiguration(1000, &config)) == VD_E_TIMEOUT) {
    if (statement_ && statement_->ended()) {
      std::printf("The statement ended before the set was configured\n");
      return false;
    }
  }
  if (status != 0) {
    PrintStatus("GetConfiguration failed", status);
    return false;
  }
  std::printf("Configured: %u devices, features 0x%x, blocks of %u, transfers of %u\n",
              config.deviceCount, config.features, config.blockSize, config.maxTransferSize);
  std::fflush(stdout);
  return true;
}

ClientVirtualDevice* Session::Open(unsigned index) {
  ClientVirtualDevice* device = nullptr;
  std::string name = device_name(index);
  const int status = set_.OpenDevice(&name[0], &device);
  if (status != 0) {
    PrintStatus("OpenDevice failed", status);
    return nullptr;
  }
  return device;
}

void Session::Report(unsigned index, int status) {
  if (status == VD_E_CLOSE) {
    std::printf("Device %u was closed by the server\n", index + 1);
  } else {
    std::printf("Device %u ended unexpectedly: x%X\n", index + 1, static_cast<unsigned>(status));
  }
  std::fflush(stdout);
}

int Session::End(bool all_closed) {
  const int status = set_.Close();
  if (status != 0) {
    PrintStatus("Close", status);
  }
  if (!statement_) {
    return all_closed ? 0 : 1;
  }
  // Only now: the server may end the statement after the last device is closed.
  std::fputs(statement_->Wait().c_str(), stdout);
  const bool done = all_closed && statement_->succeeded();
  std::printf(done ? "Done\n" : "Failed\n");
  return done ? 0 : 1;
}

}  // namespace vendor
