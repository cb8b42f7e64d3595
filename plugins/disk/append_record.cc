#include "plugins/disk/append_record.h"

#include <cerrno>
#include <cstddef>
#include <sstream>

#include <sys/xattr.h>

namespace capstan::disk {
namespace {

constexpr char kAttribute[] = "user.capstan.appended";
constexpr std::size_t kRecordsMax = 4;

bool IsUnsupported(int os_error) {
  return os_error == ENOTSUP || os_error == ENOSYS || os_error == EPERM;
}

}  // namespace

std::vector<AppendRecord> ReadAppendRecords(int medium) {
  char text[1024];
  const ssize_t size = ::fgetxattr(medium, kAttribute, text, sizeof(text));
  std::vector<AppendRecord> records;
  if (size <= 0) {
    return records;
  }
  std::istringstream lines(std::string(text, static_cast<std::size_t>(size)));
  for (AppendRecord record; lines >> record.token >> record.before >> record.after;) {
    records.push_back(record);
  }
  return records;
}

Failure WriteAppendRecords(int medium, const std::string& path,
                           const std::vector<AppendRecord>& records) {
  std::ostringstream text;
  const std::size_t first = records.size() > kRecordsMax ? records.size() - kRecordsMax : 0;
  for (std::size_t i = first; i < records.size(); ++i) {
    text << records[i].token << ' ' << records[i].before << ' ' << records[i].after << '\n';
  }
  const std::string value = text.str();
  const int result = value.empty() ? ::fremovexattr(medium, kAttribute)
                                   : ::fsetxattr(medium, kAttribute, value.data(), value.size(), 0);
  return result == 0 || errno == ENODATA || IsUnsupported(errno)
             ? Failure::None()
             : Failure::Unable(errno, "note what was appended to", path);
}

}  // namespace capstan::disk
