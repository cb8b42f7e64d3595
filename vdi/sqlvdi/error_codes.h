// The one place where the numbers of the classic interface meet ours. Pure.
#pragma once

#include <string_view>

#include "vdi/base/status.h"
#include "vdi/device_types.h"

namespace capstan::sqlvdi {

// The VD_E_ value that says what `status` says; NOERROR for OK.
int VdErrorOf(const Status& status);

// "VD_E_ABORT"; "NOERROR"; "VD_E_?" for what is none.
std::string_view VdErrorName(int vd_error);

// What the user of a program can do about it, where the failure itself does not know better.
std::string_view NextStep(int vd_error);

// What a program said in CompleteCommand, as a completion code. Programs that complete with an
// HRESULT or a negative number mean a failure, and their commands must end: an HRESULT made from a
// Win32 number is that number, VD_E_ABORT is 995, everything else out of range is 1117.
vdi::CompletionCode CompletionCodeOf(int completion_code);

}  // namespace capstan::sqlvdi
