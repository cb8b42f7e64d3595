// ChildProgram: one of PostgreSQL's programs as a child of this process, as the owner of a cluster,
// with its output read line by line.
//
// It gets no input, one descriptor at most, and an environment of nothing but PATH and LC_ALL=C. It
// ends with the thread that started it (PR_SET_PDEATHSIG follows the thread), so that nothing is
// left behind by a crash of this process: that thread must wait for it. Threads: that one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "server/writers/postgres/cluster_place.h"
#include "vdi/base/clock.h"
#include "vdi/base/status.h"
#include "vdi/base/unique_fd.h"

namespace capstan::writers {

class ChildProgram {
 public:
  struct Options {
    std::string path;
    std::vector<std::string> arguments;  // without the program's own name
    FileOwner owner;                     // rights are given up for these if this process is root
    int death_signal = 9;                // what it gets when its starter goes
    int inherited_fd = -1;               // stays open in it and its children; -1: none
  };
  // kNotFound and others with the cause if it cannot be started.
  static Result<std::unique_ptr<ChildProgram>> Start(const Options& options);
  ~ChildProgram();  // SIGQUIT, a while later SIGKILL; it is gone afterwards
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;

  // The next line of standard output and error, without its end, cut at 64 KiB; nullopt once the
  // child and its children have closed both. kDeadlineExceeded.
  Result<std::optional<std::string>> ReadLine(Deadline deadline);
  void Signal(int signal);
  // How it ended, as waitpid says. kDeadlineExceeded.
  Result<int> Wait(Deadline deadline);

  pid_t pid() const { return pid_; }

 private:
  ChildProgram(pid_t pid, UniqueFd output) : pid_(pid), output_(std::move(output)) {}

  pid_t pid_;
  UniqueFd output_;
  std::string buffer_;
  std::optional<int> ended_;
};

// "/usr/lib/postgresql/15/bin/postgres" for ("postgres", 150010): that of the same major version
// among `bin_folder` (may be empty), the places where distributions put it and the PATH.
// kNotFound with a hint.
Result<std::string> FindPostgresProgram(const std::string& name, std::uint32_t server_version,
                                        const std::string& bin_folder);

}  // namespace capstan::writers
