// A single pipe-like device on one thread: the smallest client there is, in the manner of the pipe
// sample for Linux. Complete in itself, so that it can be read from top to bottom.
//
//   pipe_client {B|R} {D|L} <database> <user> <password> <file>
//
// Statements are sent by a program named sqlcmd, found in PATH. Exits with 1 on wrong usage and
// with 0 otherwise, whatever happens: its output is what counts.
#include <cctype>
#include <cstdio>
#include <cstring>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include "vdi.h"
#include "vdierror.h"

namespace {

struct Request {
  bool backup;
  bool log;
  std::string database, user, password, file;
};

// Never deleted, as is usual: the library must put up with it.
ClientVirtualDeviceSet* device_set = nullptr;

bool ParseCommandLine(int argc, char** argv, Request* request) {
  if (argc != 7) {
    return false;
  }
  const int direction = std::toupper(static_cast<unsigned char>(argv[1][0]));
  const int kind = std::toupper(static_cast<unsigned char>(argv[2][0]));
  if ((direction != 'B' && direction != 'R') || (kind != 'D' && kind != 'L')) {
    return false;
  }
  request->backup = direction == 'B';
  request->log = kind == 'L';
  request->database = argv[3];
  request->user = argv[4];
  request->password = argv[5];
  request->file = argv[6];
  return true;
}

std::string NewName() {
  char uuid[37] = "";
  std::FILE* source = std::fopen("/proc/sys/kernel/random/uuid", "r");
  if (source != nullptr) {
    if (std::fscanf(source, "%36s", uuid) != 1) {
      uuid[0] = '\0';
    }
    std::fclose(source);
  }
  return uuid;
}

// Starts the statement on a connection of its own; it runs while this thread serves the device.
std::FILE* SendStatement(const Request& request, const std::string& name) {
  char line[1024];
  const int size = std::snprintf(
      line, sizeof line,
      "sqlcmd -U %s -P %s -S . -Q \"%s %s %s %s VIRTUAL_DEVICE='%s' WITH %s, "
      "MAXTRANSFERSIZE=1048576 \"",
      request.user.c_str(), request.password.c_str(), request.backup ? "BACKUP" : "RESTORE",
      request.log ? "LOG" : "DATABASE", request.database.c_str(), request.backup ? "TO" : "FROM",
      name.c_str(), request.backup ? "FORMAT" : "REPLACE");
  if (size < 0 || size >= static_cast<int>(sizeof line)) {
    std::printf("The statement is too long\n");
    return nullptr;
  }
  std::printf("Sending the SQL...\n");
  return popen(line, "r");
}

void TransferData(ClientVirtualDevice* device, const Request& request) {
  std::FILE* file = std::fopen(request.file.c_str(), request.backup ? "wb" : "rb");
  if (file == nullptr) {
    std::printf("Failed to open: %s\n", request.file.c_str());
    return;
  }
  VDC_Command* command = nullptr;
  int status;
  while ((status = device->GetCommand(90, &command)) == 0) {
    std::size_t bytes = 0;
    int code = ERROR_NOT_SUPPORTED;
    switch (command->commandCode) {
      case VDC_Read:
        bytes = std::fread(command->buffer, 1, static_cast<std::size_t>(command->size), file);
        code = bytes == static_cast<std::size_t>(command->size) ? ERROR_SUCCESS : ERROR_HANDLE_EOF;
        break;
      case VDC_Write:
        bytes = std::fwrite(command->buffer, 1, static_cast<std::size_t>(command->size), file);
        code = bytes == static_cast<std::size_t>(command->size) ? ERROR_SUCCESS : ERROR_DISK_FULL;
        break;
      case VDC_Flush:
        code = std::fflush(file) == 0 ? ERROR_SUCCESS : ERROR_DISK_FULL;
        break;
      case VDC_ClearError:
        code = ERROR_SUCCESS;
        break;
      default:
        break;
    }
    status = device->CompleteCommand(command, code, bytes, 0);
    if (status != 0) {
      std::printf("Completion failed: x%X\n", static_cast<unsigned>(status));
      break;
    }
    // The block is read after its completion: it must stay as it is until the next GetCommand.
    std::printf("Completed command code: %i, completionCode: %i, bytes; %li \n",
                command->commandCode, code, static_cast<long>(bytes));
  }
  if (status == VD_E_CLOSE) {
    std::printf("Successfully completed data transfer.\n");
  } else {
    std::printf("Unexpected termination: x%X\n", static_cast<unsigned>(status));
  }
  std::fclose(file);
}

// From the configuration to the end of the device. Whatever fails here, the set is closed next.
void ServeStatement(const Request& request, std::string name) {
  VDConfig config;
  int status = device_set->GetConfiguration(10000, &config);
  if (status != 0) {
    std::printf("VDS::Getconfig fails: x%X\n", static_cast<unsigned>(status));
    if (status == VD_E_TIMEOUT) {
      std::printf("Timed out. Was Microsoft SQLServer running?\n");
    }
    return;
  }
  std::printf("Features returned by SQL Server: 0x%x\n", config.features);
  ClientVirtualDevice* device = nullptr;
  status = device_set->OpenDevice(&name[0], &device);
  if (status != 0) {
    std::printf("VDS::OpenDevice fails: x%X\n", static_cast<unsigned>(status));
    return;
  }
  TransferData(device, request);
}

}  // namespace

int main(int argc, char** argv) {
  Request request;
  if (!ParseCommandLine(argc, argv, &request)) {
    std::printf("usage: %s {B|R} {D|L} <database> <user> <password> <file>\n", argv[0]);
    return 1;
  }
  umask(0);
  VDConfig config;
  std::memset(&config, 0, sizeof config);
  config.deviceCount = 1;
  config.features = VDF_LikePipe;
  std::string name = NewName();
  device_set = new ClientVirtualDeviceSet();
  const int status = device_set->Create(&name[0], &config);
  if (status != 0) {
    std::printf("VDS::Create fails: x%X\n", static_cast<unsigned>(status));
    return 0;
  }
  std::FILE* sqlcmd = SendStatement(request, name);
  if (sqlcmd != nullptr) {
    ServeStatement(request, name);
  }
  device_set->Close();
  if (sqlcmd != nullptr) {
    char line[1024];
    while (std::fgets(line, sizeof line, sqlcmd) != nullptr) {
      std::fputs(line, stdout);
    }
    pclose(sqlcmd);
  }
  return 0;
}
