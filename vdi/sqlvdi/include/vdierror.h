// Status values of the Virtual Backup Device Interface, and the completion codes of its commands.
//
// Two vocabularies, easily mixed up:
//   VD_E_*   what a call into the library *returns* to the program. All failures are negative ints.
//   ERROR_*  what the program *says* in CompleteCommand about a command: a Win32 error number.
// Never complete a command with a VD_E_ value, and never compare a call's result with ERROR_.
//
// Here are the completion codes that programs for Linux can count on in this header. Those for tape
// and removable media are in vdicompletion.h, apart, so that a program that has long defined them
// for itself goes on compiling.
//
// Usable from C and from C++11 on.
#ifndef CAPSTAN_VDI_SQLVDI_INCLUDE_VDIERROR_H_
#define CAPSTAN_VDI_SQLVDI_INCLUDE_VDIERROR_H_

// What calls return. Every call returns int; compare with == or test for < 0.
#ifndef NOERROR
#define NOERROR 0
#endif
#define VD_E_NOTOPEN ((int)0x80770002)        // the object is not open
#define VD_E_TIMEOUT ((int)0x80770003)        // the wait expired; nothing was lost, call again
#define VD_E_ABORT ((int)0x80770004)          // the set was aborted; only Close is useful now
#define VD_E_SECURITY ((int)0x80770005)       // this user may not speak to the server
#define VD_E_INVALID ((int)0x80770006)        // a parameter is wrong
#define VD_E_INSTANCE_NAME ((int)0x80770007)  // no such server is running
#define VD_E_NOTSUPPORTED ((int)0x80770009)   // a VDConfig field or combination is not supported
#define VD_E_MEMORY ((int)0x8077000A)         // out of memory
#define VD_E_UNEXPECTED ((int)0x8077000B)     // internal error
#define VD_E_PROTOCOL ((int)0x8077000C)       // the call is illegal in this state
#define VD_E_OPEN ((int)0x8077000D)   // all devices are open; or, from Close, some still are
#define VD_E_CLOSE ((int)0x8077000E)  // the server closed the device: the normal end
#define VD_E_BUSY ((int)0x8077000F)   // a resource is busy

// What CompleteCommand is told.
#ifndef ERROR_SUCCESS
#define ERROR_SUCCESS 0  // done; for Read and Write, every byte of it
#endif
#ifndef ERROR_ARENA_TRASHED
#define ERROR_ARENA_TRASHED 7  // a failure without a better name
#endif
#ifndef ERROR_HANDLE_EOF
#define ERROR_HANDLE_EOF 38  // Read: the data ends here; the bytes transferred are valid
#endif
#ifndef ERROR_HANDLE_DISK_FULL
#define ERROR_HANDLE_DISK_FULL 39  // Write: no space; BACKUP fails
#endif
#ifndef ERROR_NOT_SUPPORTED
#define ERROR_NOT_SUPPORTED 50  // the program does not know this command
#endif
#ifndef ERROR_DISK_FULL
#define ERROR_DISK_FULL 112  // Write: no space; BACKUP fails
#endif
#ifndef ERROR_OPERATION_ABORTED
#define ERROR_OPERATION_ABORTED 995  // the program declines, for example a snapshot
#endif

#endif  // CAPSTAN_VDI_SQLVDI_INCLUDE_VDIERROR_H_
