#include "vdi/sqlvdi/diagnostics.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vdi/base/unique_fd.h"
#include "vdi/sqlvdi/error_codes.h"
#include "vdi/sqlvdi/include/vdierror.h"

namespace capstan::sqlvdi {
namespace {

constexpr mode_t kFileMode = 0640;

// Names and messages of the other side are input: they cannot begin a line of their own.
std::string OnOneLine(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return line;
}

// "12:03:04.512 "
std::string Now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm local{};
  ::localtime_r(&now.tv_sec, &local);
  return fmt::format("{:02}:{:02}:{:02}.{:03} ", local.tm_hour, local.tm_min, local.tm_sec,
                     now.tv_nsec / 1'000'000);
}

// One write, so that lines of several processes do not mix. Diagnostics that cannot be written are
// lost: there is nobody to tell.
void Append(int fd, const std::string& line) {
  while (::write(fd, line.data(), line.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace

std::string FormatEvent(const Event& event, int process_id, int thread_id) {
  std::string line = fmt::format(
      "SQLVDI: Loc={}. Desc={}. ErrorCode=({:#x} {}). Process={}. Thread={}. Client.",
      event.location, OnOneLine(event.description), static_cast<unsigned int>(event.vd_error),
      VdErrorName(event.vd_error), process_id, thread_id);
  if (!event.device.empty()) {
    line += fmt::format(" VD={}.", OnOneLine(event.device));
  }
  if (!event.next_step.empty()) {
    line += fmt::format(" Next={}.", OnOneLine(event.next_step));
  }
  line += '\n';
  return line;
}

void Diagnostics::Write(const Event& event) const {
  if (!on()) {
    return;
  }
  const std::string line =
      Now() + FormatEvent(event, ::getpid(), static_cast<int>(::syscall(SYS_gettid)));
  if (target_ == Settings::Diagnostics::kFile) {
    const UniqueFd file(
        ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, kFileMode));
    if (file.valid()) {
      Append(file.get(), line);
      return;
    }
  }
  Append(STDERR_FILENO, line);
}

int Diagnostics::Conclude(std::string_view location, std::string_view device,
                          const Status& status) const {
  const int vd_error = VdErrorOf(status);
  if (vd_error != NOERROR && on()) {
    // Below, nobody knows that programs are told of the server by the environment.
    const bool own_advice = status.hint().empty() || vd_error == VD_E_INSTANCE_NAME;
    Write({.location = location,
           .description = status.message(),
           .vd_error = vd_error,
           .device = device,
           .next_step = own_advice ? NextStep(vd_error) : status.hint()});
  }
  return vd_error;
}

}  // namespace capstan::sqlvdi
