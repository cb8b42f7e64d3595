// What every drive must do that is driven through TapeDrive; said of real ones, over whatever leads
// to them. All of it overwrites the cartridge.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/tape/tape_drive.h"

namespace capstan::test {

// What a drive may do otherwise than SSC has it, and is.
enum class SpacingOf { kStandard, kBlocksAndFilemarks };  // the latter counts both as blocks

// Each returns an empty string, or what was wrong.
std::string CheckBlocksAndFilemarks(tape::TapeDrive* drive);
std::string CheckSpacing(tape::TapeDrive* drive, SpacingOf spacing);
std::string CheckOverwriting(tape::TapeDrive* drive);
std::string CheckPositions(tape::TapeDrive* drive);
std::string CheckWriteProtection(tape::TapeDrive* drive);  // the cartridge must be protected

struct Throughput {
  double write_mb_per_s = 0;  // the filemark behind included
  double read_mb_per_s = 0;
};
std::string CheckThroughput(tape::TapeDrive* drive, std::uint32_t block_count,
                            std::uint32_t block_size, Throughput* throughput);

// Writes until the drive warns, then a trailer, and reads that every block that was taken is there
// exactly once.
std::string CheckEndOfMedium(tape::TapeDrive* drive, std::uint32_t block_size,
                             std::uint32_t* block_count);

// Until the drive is ready, for some seconds at most.
std::string AwaitReady(tape::TapeDrive* drive);

std::string NameOf(tape::Outcome outcome);

}  // namespace capstan::test
