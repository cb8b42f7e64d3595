#include "plugins/tape/scsi/scsi_devices.h"

#include <string_view>
#include <utility>

#include "plugins/tape/scsi/device_calls.h"
#include "plugins/tape/scsi/iscsi_transport.h"
#include "plugins/tape/scsi/scsi_changer.h"
#include "plugins/tape/scsi/scsi_drive.h"
#include "plugins/tape/scsi/sg_transport.h"
#include "plugins/tape/scsi/st_drive.h"

namespace capstan::tape {
namespace {

bool IsIscsi(std::string_view url) {
  return url.substr(0, 8) == "iscsi://";
}

// Of /dev/sg3 and /dev/sch0: nodes that carry commands as they are.
bool IsGenericNode(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return name.substr(0, 2) == "sg" || name.substr(0, 3) == "sch";
}

Failure OpenTransport(const std::string& url, std::unique_ptr<ScsiTransport>* transport) {
  return IsIscsi(url) ? IscsiTransport::Connect(url, transport)
                      : SgTransport::Open(url, MakeKernelCalls(), transport);
}

}  // namespace

Failure OpenScsiDrive(const std::string& url, std::unique_ptr<TapeDrive>* drive) {
  if (!IsIscsi(url) && !IsGenericNode(url)) {
    return StDrive::Open(url, MakeKernelCalls(), drive);
  }
  std::unique_ptr<ScsiTransport> transport;
  Failure failure = OpenTransport(url, &transport);
  return failure.failed() ? failure
                          : ScsiDrive::Open(WithoutSecret(url), std::move(transport), drive);
}

Failure OpenScsiChanger(const std::string& url, std::unique_ptr<MediumChanger>* changer) {
  std::unique_ptr<ScsiTransport> transport;
  Failure failure = OpenTransport(url, &transport);
  return failure.failed() ? failure
                          : ScsiChanger::Open(WithoutSecret(url), std::move(transport), changer);
}

}  // namespace capstan::tape
