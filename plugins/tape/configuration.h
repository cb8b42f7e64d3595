// Configuration: which drives and libraries there are, and how they are used.
//
// Options of the agent (configure), or of the file that CAPSTAN_TAPE_CONFIG names if the agent has
// none; in a file a dot is a table, and numbers and true or false may stand without quotes:
//
//   library.vault = /srv/vault              an emulated library; its drives are vault/0, vault/1
//   ... library.robot = iscsi://host/iqn/0      a real one, by its changer: iscsi://, /dev/sg,
//   /dev/sch drive.robot/0 = iscsi://host/iqn/1      a drive of a real library, in the changer's
//   order tape0 = robot/0                         what \\.\Tape0 is: a drive of a library, or one
//   that tape1 = /dev/nst0                       stands alone block_size = 262144 bytes of the
//   blocks that are written, 512 to 8388608 eject_when_done = true                  puts the
//   cartridge back after a backup notes = /var/lib/capstan/tape           a folder for notes on
//   cartridges of real libraries
//
// Without tape0, \\.\Tape0 is drive 0 of the only library. Threads: any.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "plugins/tape/failure.h"

namespace capstan::tape {

struct DriveAddress {
  std::string name;         // "vault/0", "tape1"
  std::string library;      // "vault"; empty: stands alone
  std::string changer;      // folder or URL of the library
  std::uint32_t index = 0;  // among the library's drives
  std::string url;          // of the drive; empty: a drive of an emulated library
};

struct Usage {
  std::uint32_t block_size = 256U << 10U;
  bool eject_when_done = false;
  std::string notes;
};

class Configuration {
 public:
  // EINVAL names what is possible.
  Failure Set(const std::string& key, const std::string& value);
  // With the line of what is wrong.
  Failure Load(const std::string& path);

  // Of a statement: \\.\Tape0, vault/0, /dev/nst0, iscsi://host/iqn/1. ENODEV if there is none.
  Failure Find(const std::string& target, DriveAddress* drive) const;
  Usage usage() const;
  bool empty() const;

 private:
  Failure FindInLibrary(const std::string& target, DriveAddress* drive) const;
  std::string KnownDrives() const;

  mutable std::mutex mutex_;
  std::map<std::string, std::string> libraries_;  // all: guarded by mutex_
  std::map<std::string, std::string> drives_;     // "robot/0"
  std::map<std::uint32_t, std::string> tapes_;
  Usage usage_;
};

}  // namespace capstan::tape
