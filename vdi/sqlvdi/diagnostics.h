// Diagnostics: one line per failure and per milestone of a set, for the user of a vendor's program.
//
//   12:03:04.512 SQLVDI: Loc=ClientVirtualDevice::GetCommand. Desc=device set 'a' was aborted: ...
//     ErrorCode=(0x80770004 VD_E_ABORT). Process=812. Thread=815. Client. VD=a. Next=call Close ...
//
// (On one line.) Off unless the environment says otherwise: people parse what programs print. Never
// on standard output. A file is opened, appended to and closed for each line, so that nothing is
// held open, and forked processes and several programs may share it.
// Threads: any; immutable.
#pragma once

#include <string>
#include <string_view>

#include "vdi/base/status.h"
#include "vdi/sqlvdi/settings.h"

namespace capstan::sqlvdi {

// What happened, for one line.
struct Event {
  std::string_view location;     // "ClientVirtualDeviceSet::Create"
  std::string_view description;  // what, and why
  int vd_error = 0;
  std::string_view device;  // the set's or the device's name, if there is one
  std::string_view next_step;
};

// The line without its time, and with the line feed. Pure.
std::string FormatEvent(const Event& event, int process_id, int thread_id);

class Diagnostics {
 public:
  explicit Diagnostics(const Settings& settings)
      : target_(settings.diagnostics), file_(settings.diagnostics_file) {}

  bool on() const { return target_ != Settings::Diagnostics::kOff; }
  void Write(const Event& event) const;

  // Returns the VD_E_ value of `status`, and writes a line if it is a failure.
  int Conclude(std::string_view location, std::string_view device, const Status& status) const;

 private:
  const Settings::Diagnostics target_;
  const std::string file_;
};

}  // namespace capstan::sqlvdi
