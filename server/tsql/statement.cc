#include "server/tsql/statement.h"

#include "vdi/base/check.h"

namespace capstan::tsql {

std::string_view DeviceClassName(DeviceClass device_class) {
  switch (device_class) {
    case DeviceClass::kDisk:
      return "DISK";
    case DeviceClass::kUrl:
      return "URL";
    case DeviceClass::kTape:
      return "TAPE";
    case DeviceClass::kVirtualDevice:
      return "VIRTUAL_DEVICE";
  }
  CAPSTAN_CHECK(false);
}

std::string_view CommandName(const BackupStatement& backup) {
  return backup.log ? "BACKUP LOG" : "BACKUP DATABASE";
}

std::string_view CommandName(const RestoreStatement& restore) {
  return restore.log ? "RESTORE LOG" : "RESTORE DATABASE";
}

std::string_view CommandName(RestoreQuery query) {
  switch (query) {
    case RestoreQuery::kLabelOnly:
      return "RESTORE LABELONLY";
    case RestoreQuery::kHeaderOnly:
      return "RESTORE HEADERONLY";
    case RestoreQuery::kFileListOnly:
      return "RESTORE FILELIST";
    case RestoreQuery::kVerifyOnly:
      return "VERIFY DATABASE";
    case RestoreQuery::kMediaMap:
      return "RESTORE MEDIAMAP";
  }
  CAPSTAN_CHECK(false);
}

}  // namespace capstan::tsql
