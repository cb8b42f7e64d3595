// WriteNote: what is put beside a medium before the first byte of it goes over the wire, so that
// whoever comes later knows that it is being written, by whom, and which uploads are to be
// completed or aborted.
//
//   <folder>.capstan-writing/<hash of the leaf>.<token>     lines of text:
//   "capstan-writing 1", "key ..", "token ..", "owner ..", "lock <mode> <until>" if objects are to
//   be locked, and one "upload <key> <id>" per object
//
// Texts in it are percent-encoded. Threads: any; plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plugins/s3/medium_url.h"

namespace capstan::s3 {

struct NotedUpload {
  std::string key;
  std::string id;  // empty: it may have been begun, and its id is not known yet
};

struct WriteNote {
  std::string key;  // of the medium
  std::string token;
  std::string owner;                 // see ThisProcess
  std::vector<NotedUpload> uploads;  // in the order of their objects
  std::string lock_mode;             // empty: nothing is to be locked
  std::int64_t lock_until_unix_s = 0;
  std::int64_t put_unix_s = 0;  // not in the text: the server's time of it

  // Whether an upload to the medium's own key may have been begun whose id is not in here.
  bool WaitsForId() const { return !uploads.empty() && uploads.front().id.empty(); }
};

std::string EncodeNote(const WriteNote& note);
// False: it is not a note, or not whole.
bool DecodeNote(const std::string& text, WriteNote* note);

std::string NoteFolder(const MediumUrl& url);  // "<folder>.capstan-writing/"
std::string NotePrefix(const MediumUrl& url);  // of all notes of the medium
inline std::string NoteKey(const MediumUrl& url, const std::string& token) {
  return NotePrefix(url) + token;
}

// Host, boot, process and its start, so that no other process is taken for this one.
std::string ThisProcess();

enum class OwnerState {
  kThisProcess,
  kAlive,
  kDead,
  kElsewhere,  // on another host: nobody here can tell
};
OwnerState StateOf(const std::string& owner);

}  // namespace capstan::s3
