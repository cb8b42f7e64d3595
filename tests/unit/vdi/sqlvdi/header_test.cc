// The headers alone, as a program's compiler sees them: sizes, offsets and values of the classic
// interface. Includes nothing else of ours; compiled as C++11, which is what such programs are.
#include <vdi.h>
#include <vdicompletion.h>

static_assert(sizeof(VDConfig) == 44 && alignof(VDConfig) == 4, "");
static_assert(offsetof(VDConfig, deviceCount) == 0, "");
static_assert(offsetof(VDConfig, features) == 4, "");
static_assert(offsetof(VDConfig, prefixZoneSize) == 8, "");
static_assert(offsetof(VDConfig, alignment) == 12, "");
static_assert(offsetof(VDConfig, softFileMarkBlockSize) == 16, "");
static_assert(offsetof(VDConfig, EOMWarningSize) == 20, "");
static_assert(offsetof(VDConfig, serverTimeOut) == 24, "");
static_assert(offsetof(VDConfig, blockSize) == 28, "");
static_assert(offsetof(VDConfig, maxIODepth) == 32, "");
static_assert(offsetof(VDConfig, maxTransferSize) == 36, "");
static_assert(offsetof(VDConfig, bufferAreaSize) == 40, "");

static_assert(sizeof(VDC_Command) == 24 && alignof(VDC_Command) == 8, "");
static_assert(offsetof(VDC_Command, commandCode) == 0, "");
static_assert(offsetof(VDC_Command, size) == 4, "");
static_assert(offsetof(VDC_Command, position) == 8, "");
static_assert(offsetof(VDC_Command, buffer) == 16, "");

static_assert(sizeof(VDS_Command) == 56 && alignof(VDS_Command) == 8, "");
static_assert(offsetof(VDS_Command, commandCode) == 0, "");
static_assert(offsetof(VDS_Command, size) == 4, "");
static_assert(offsetof(VDS_Command, inPosition) == 8, "");
static_assert(offsetof(VDS_Command, outPosition) == 16, "");
static_assert(offsetof(VDS_Command, buffer) == 24, "");
static_assert(offsetof(VDS_Command, completionRoutine) == 32, "");
static_assert(offsetof(VDS_Command, completionContext) == 40, "");
static_assert(offsetof(VDS_Command, completionCode) == 48, "");
static_assert(offsetof(VDS_Command, bytesTransferred) == 52, "");

static_assert(sizeof(ClientVirtualDevice) == 8 && alignof(ClientVirtualDevice) == 8, "");
static_assert(sizeof(ClientVirtualDeviceSet) == 8 && alignof(ClientVirtualDeviceSet) == 8, "");
static_assert(sizeof(VDFeatures) == 4 && sizeof(VDCommands) == 4 && sizeof(VDWhence) == 4, "");

static_assert(VDF_LikeTape == 0x173 && VDF_LikeDisk == 0x200 && VDF_LikePipe == 0, "");
static_assert(VDF_Discard == 0x80 && VDF_SnapshotPrepare == 0x400, "");
static_assert(VDF_EnumFrozenFiles == 0x800 && VDF_VSSWriter == 0x1000, "");
static_assert(VDF_RequestComplete == 0x2000 && VDF_CompleteEnabled == 0x40000, "");
static_assert(VDF_WriteMedia == 0x10000 && VDF_ReadMedia == 0x20000, "");
static_assert(VDC_Read == 1 && VDC_Write == 2 && VDC_ClearError == 3 && VDC_Rewind == 4, "");
static_assert(VDC_WriteMark == 5 && VDC_SkipMarks == 6 && VDC_SkipBlocks == 7, "");
static_assert(VDC_Load == 8 && VDC_GetPosition == 9 && VDC_SetPosition == 10, "");
static_assert(VDC_Discard == 11 && VDC_Flush == 12 && VDC_Snapshot == 13, "");
static_assert(VDC_MountSnapshot == 14 && VDC_PrepareToFreeze == 15, "");
static_assert(VDC_FileInfoBegin == 16 && VDC_FileInfoEnd == 17, "");
static_assert(VDC_GetError == 18 && VDC_Complete == 19, "");
static_assert(VDC_Beginning == 0 && VDC_Current == 1 && VDC_End == 2, "");

static_assert(VD_E_NOTOPEN == static_cast<int>(0x80770002), "");
static_assert(VD_E_TIMEOUT == static_cast<int>(0x80770003), "");
static_assert(VD_E_ABORT == static_cast<int>(0x80770004), "");
static_assert(VD_E_SECURITY == static_cast<int>(0x80770005), "");
static_assert(VD_E_INVALID == static_cast<int>(0x80770006), "");
static_assert(VD_E_INSTANCE_NAME == static_cast<int>(0x80770007), "");
static_assert(VD_E_NOTSUPPORTED == static_cast<int>(0x80770009), "");
static_assert(VD_E_MEMORY == static_cast<int>(0x8077000A), "");
static_assert(VD_E_UNEXPECTED == static_cast<int>(0x8077000B), "");
static_assert(VD_E_PROTOCOL == static_cast<int>(0x8077000C), "");
static_assert(VD_E_OPEN == static_cast<int>(0x8077000D), "");
static_assert(VD_E_CLOSE == static_cast<int>(0x8077000E), "");
static_assert(VD_E_BUSY == static_cast<int>(0x8077000F), "");

static_assert(ERROR_SUCCESS == 0 && ERROR_HANDLE_EOF == 38 && ERROR_HANDLE_DISK_FULL == 39, "");
static_assert(ERROR_NOT_SUPPORTED == 50 && ERROR_DISK_FULL == 112, "");
static_assert(ERROR_OPERATION_ABORTED == 995 && ERROR_ARENA_TRASHED == 7, "");
static_assert(ERROR_END_OF_MEDIA == 1100 && ERROR_FILEMARK_DETECTED == 1101, "");
static_assert(ERROR_NO_DATA_DETECTED == 1104 && ERROR_IO_DEVICE == 1117, "");
static_assert(ERROR_EOM_OVERFLOW == 1129 && ERROR_MEDIA_CHANGED == 1110, "");
