// The completion codes that vdierror.h leaves out: what tapes, removable media and failing disks
// have to say. Each is a Win32 error number under its Win32 name, unless the program has one.
// Usable from C and from C++11 on.
#ifndef CAPSTAN_VDI_SQLVDI_INCLUDE_VDICOMPLETION_H_
#define CAPSTAN_VDI_SQLVDI_INCLUDE_VDICOMPLETION_H_

#include "vdierror.h"

#ifndef ERROR_ACCESS_DENIED
#define ERROR_ACCESS_DENIED 5  // the medium is protected
#endif
#ifndef ERROR_INVALID_HANDLE
#define ERROR_INVALID_HANDLE 6  // the device is not active
#endif
#ifndef ERROR_BAD_ENVIRONMENT
#define ERROR_BAD_ENVIRONMENT 10  // a failure without a better name
#endif
#ifndef ERROR_NOT_READY
#define ERROR_NOT_READY 21  // the drive is not ready
#endif
#ifndef ERROR_CRC
#define ERROR_CRC 23  // data error on the medium
#endif
#ifndef ERROR_WRITE_FAULT
#define ERROR_WRITE_FAULT 29
#endif
#ifndef ERROR_READ_FAULT
#define ERROR_READ_FAULT 30
#endif
#ifndef ERROR_END_OF_MEDIA
#define ERROR_END_OF_MEDIA 1100  // early warning: this Write *was* stored; a new medium is due
#endif
#ifndef ERROR_FILEMARK_DETECTED
#define ERROR_FILEMARK_DETECTED 1101  // Read or skip met a filemark
#endif
#ifndef ERROR_BEGINNING_OF_MEDIA
#define ERROR_BEGINNING_OF_MEDIA 1102  // a backward skip met the start
#endif
#ifndef ERROR_NO_DATA_DETECTED
#define ERROR_NO_DATA_DETECTED 1104  // the recorded data ends here, as ERROR_HANDLE_EOF
#endif
#ifndef ERROR_MEDIA_CHANGED
#define ERROR_MEDIA_CHANGED 1110  // somebody changed the medium
#endif
#ifndef ERROR_NO_MEDIA_IN_DRIVE
#define ERROR_NO_MEDIA_IN_DRIVE 1112
#endif
#ifndef ERROR_IO_DEVICE
#define ERROR_IO_DEVICE 1117  // the device failed
#endif
#ifndef ERROR_EOM_OVERFLOW
#define ERROR_EOM_OVERFLOW 1129  // Write past the physical end: BACKUP fails
#endif

#endif  // CAPSTAN_VDI_SQLVDI_INCLUDE_VDICOMPLETION_H_
