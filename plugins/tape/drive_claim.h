// DriveClaim: one job of this process on a drive. Other processes are kept away by the drive
// itself.
//
// Threads: any.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "plugins/tape/failure.h"

namespace capstan::tape {

class DriveClaim {
 public:
  DriveClaim() = default;
  DriveClaim(DriveClaim&& other) noexcept : drive_(std::exchange(other.drive_, "")) {}
  DriveClaim& operator=(DriveClaim&& other) noexcept {
    std::swap(drive_, other.drive_);
    return *this;
  }
  ~DriveClaim();

  // `who`: for the message to others. EBUSY, transient, names who has it still after `patience`: a
  // job goes on with the next device before the agent has closed the one before.
  static Failure Take(const std::string& drive, const std::string& who,
                      std::chrono::milliseconds patience, DriveClaim* claim);

 private:
  std::string drive_;  // empty: nothing is claimed
};

}  // namespace capstan::tape
