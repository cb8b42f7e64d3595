// A disk-like device: every transfer carries its position, Flush sets the end of the file.
//
//   disk_client {--backup|--restore} DATABASE --file PATH [as in session.h]
#include "arguments.h"
#include "random_access_file.h"
#include "session.h"

int main(int argc, char** argv) {
  const vendor::Arguments arguments(argc, argv);
  vendor::Session session(arguments);
  session.config.features = VDF_LikeDisk;
  if (!session.Begin() || !session.AwaitConfiguration()) {
    return session.End(false);
  }
  vendor::RandomAccessFile file;
  if (!file.Open(arguments.Required("file"), session.backup())) {
    return session.End(false);
  }
  ClientVirtualDevice* device = session.Open(0);
  if (device == nullptr) {
    return session.End(false);
  }
  const int status = vendor::Serve(device, &file);
  vendor::Session::Report(0, status);
  return session.End(status == VD_E_CLOSE);
}
