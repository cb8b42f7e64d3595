#include "plugins/s3/write_note.h"

#include <climits>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include <unistd.h>

#include "plugins/s3/digest.h"

namespace capstan::s3 {
namespace {

constexpr std::size_t kHashSize = 16;
constexpr const char* kHead = "capstan-writing 1";
constexpr const char* kEnd = "end";  // a note without it is not whole
constexpr int kStartTimeField = 20;  // of /proc/<pid>/stat, behind the name

std::string FirstLineOf(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string StartTimeOf(const std::string& process) {
  const std::string status = FirstLineOf("/proc/" + process + "/stat");
  const std::size_t name_end = status.rfind(')');
  if (name_end == std::string::npos) {
    return "";
  }
  std::istringstream fields(status.substr(name_end + 1));
  std::string field;
  for (int i = 0; i < kStartTimeField; ++i) {
    fields >> field;
  }
  return field;
}

// Host and boot.
std::string ThisMachine() {
  char host[HOST_NAME_MAX + 1] = {};
  ::gethostname(host, sizeof(host) - 1);
  return EncodeUriPart(host) + "/" + FirstLineOf("/proc/sys/kernel/random/boot_id");
}

}  // namespace

std::string EncodeNote(const WriteNote& note) {
  std::string text = std::string(kHead) + "\nkey " + EncodeUriPath(note.key) + "\ntoken " +
                     note.token + "\nowner " + note.owner + "\n";
  if (!note.lock_mode.empty()) {
    text += "lock " + note.lock_mode + " " + std::to_string(note.lock_until_unix_s) + "\n";
  }
  for (const NotedUpload& upload : note.uploads) {
    text += "upload " + EncodeUriPath(upload.key) + " " + EncodeUriPart(upload.id) + "\n";
  }
  return text + kEnd + "\n";
}

bool DecodeNote(const std::string& text, WriteNote* note) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != kHead) {
    return false;
  }
  *note = {};
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string name;
    std::string first;
    std::string second;
    words >> name >> first >> second;
    if (name == "key") {
      note->key = DecodeUri(first);
    } else if (name == "token") {
      note->token = first;
    } else if (name == "owner") {
      note->owner = first;
    } else if (name == "lock") {
      note->lock_mode = first;
      note->lock_until_unix_s = std::strtoll(second.c_str(), nullptr, 10);
    } else if (name == "upload") {
      note->uploads.push_back({DecodeUri(first), DecodeUri(second)});
    } else if (name == kEnd) {
      return !note->key.empty() && !note->token.empty();
    }
  }
  return false;
}

std::string NoteFolder(const MediumUrl& url) {
  return url.folder() + ".capstan-writing/";
}

std::string NotePrefix(const MediumUrl& url) {
  return NoteFolder(url) + HexOf(Sha256(url.leaf())).substr(0, kHashSize) + ".";
}

std::string ThisProcess() {
  const std::string process = std::to_string(::getpid());
  return ThisMachine() + "/" + process + "/" + StartTimeOf(process);
}

OwnerState StateOf(const std::string& owner) {
  if (owner == ThisProcess()) {
    return OwnerState::kThisProcess;
  }
  const std::string here = ThisMachine() + "/";
  if (owner.compare(0, here.size(), here) != 0) {
    return OwnerState::kElsewhere;
  }
  const std::string rest = owner.substr(here.size());
  const std::size_t slash = rest.find('/');
  const std::string process = rest.substr(0, slash);
  const bool lives = slash != std::string::npos && StartTimeOf(process) == rest.substr(slash + 1);
  return lives ? OwnerState::kAlive : OwnerState::kDead;
}

}  // namespace capstan::s3
