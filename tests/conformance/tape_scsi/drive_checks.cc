#include "tests/conformance/tape_scsi/drive_checks.h"

#include <chrono>
#include <cstring>
#include <iterator>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace capstan::test {
namespace {

using tape::Answer;
using tape::Outcome;
using tape::TapeDrive;
using Block = std::vector<std::byte>;
using Clock = std::chrono::steady_clock;

constexpr auto kReadyTimeout = std::chrono::seconds(60);
constexpr std::uint32_t kTrailerBlocks = 4;
constexpr std::uint32_t kFillBlocksMax = 1U << 20;

// Different for each number, also where two blocks have the same size.
Block MakeBlock(std::uint64_t number, std::size_t size) {
  Block block(size);
  std::uint64_t state = number * 0x9E37'79B9'7F4A'7C15ULL + 1;
  for (std::size_t offset = 0; offset < size; offset += sizeof(state)) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(block.data() + offset, &state, std::min(sizeof(state), size - offset));
  }
  return block;
}

std::string Unexpected(const char* what, const Answer& answer) {
  return fmt::format("{}: {} ({} bytes) {}", what, NameOf(answer.outcome), answer.bytes,
                     answer.failure.message);
}

// "" if the answer is as expected.
std::string Want(Outcome outcome, const char* what, const Answer& answer) {
  return answer.outcome == outcome ? "" : Unexpected(what, answer);
}

std::string WantBlock(TapeDrive* drive, std::uint64_t number, std::size_t size) {
  Block buffer(drive->limits().block_size_max);
  const Answer answer = drive->Read(buffer);
  if (answer.outcome != Outcome::kDone || answer.bytes != size) {
    return Unexpected(fmt::format("read block {} of {} bytes", number, size).c_str(), answer);
  }
  const Block expected = MakeBlock(number, size);
  if (std::memcmp(buffer.data(), expected.data(), size) != 0) {
    return fmt::format("block {} of {} bytes has other contents", number, size);
  }
  return "";
}

std::string WantRead(Outcome outcome, const char* what, TapeDrive* drive) {
  Block buffer(drive->limits().block_size_max);
  return Want(outcome, what, drive->Read(buffer));
}

std::string WriteBlock(TapeDrive* drive, std::uint64_t number, std::size_t size) {
  const Answer answer = drive->Write(MakeBlock(number, size));
  return answer.outcome == Outcome::kDone ? "" : Unexpected("write", answer);
}

// Stops at the first step that goes wrong.
#define STEP(expression)                   \
  do {                                     \
    std::string wrong = expression;        \
    if (!wrong.empty()) {                  \
      return wrong + " [" #expression "]"; \
    }                                      \
  } while (false)

// Blocks 0 to 3, a filemark, blocks 4 to 6, a filemark; 4096 bytes each.
constexpr std::size_t kSmall = 4'096;
std::string WriteTwoFiles(TapeDrive* drive) {
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  for (std::uint64_t number = 0; number < 4; ++number) {
    STEP(WriteBlock(drive, number, kSmall));
  }
  STEP(Want(Outcome::kDone, "filemark", drive->WriteFilemarks(1)));
  for (std::uint64_t number = 4; number < 7; ++number) {
    STEP(WriteBlock(drive, number, kSmall));
  }
  STEP(Want(Outcome::kDone, "filemark", drive->WriteFilemarks(1)));
  return "";
}

std::string CheckStopsAtFilemarks(TapeDrive* drive) {
  STEP(Want(Outcome::kFilemark, "space blocks over a filemark", drive->SpaceBlocks(100)));
  STEP(WantRead(Outcome::kEndOfData, "read behind it", drive));
  STEP(Want(Outcome::kDone, "space back a filemark", drive->SpaceFilemarks(-1)));
  STEP(Want(Outcome::kDone, "space back a block", drive->SpaceBlocks(-1)));
  STEP(WantBlock(drive, 6, kSmall));
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  STEP(Want(Outcome::kFilemark, "space blocks to the filemark", drive->SpaceBlocks(100)));
  STEP(WantBlock(drive, 4, kSmall));
  STEP(Want(Outcome::kFilemark, "space back to the block in front", drive->SpaceBlocks(-2)));
  STEP(Want(Outcome::kBeginning, "space back to the beginning", drive->SpaceBlocks(-100)));
  STEP(WantBlock(drive, 0, kSmall));
  return "";
}

double MegabytesPerSecond(std::uint64_t bytes, Clock::time_point begin) {
  const std::chrono::duration<double> elapsed = Clock::now() - begin;
  return static_cast<double>(bytes) / 1e6 / elapsed.count();
}

}  // namespace

std::string NameOf(Outcome outcome) {
  constexpr const char* kNames[] = {
      "done",           "early warning",  "filemark",       "end of data",    "beginning",
      "block too long", "no room",        "no medium",      "medium changed", "write protected",
      "write once",     "incompatible",   "not ready",      "busy",           "unsupported",
      "medium error",   "hardware error", "transport error"};
  const auto index = static_cast<std::size_t>(outcome);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

std::string AwaitReady(TapeDrive* drive) {
  const Clock::time_point deadline = Clock::now() + kReadyTimeout;
  Answer answer = drive->TestReady();
  while (!answer.done() && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    answer = drive->TestReady();
  }
  return Want(Outcome::kDone, "get ready", answer);
}

std::string CheckBlocksAndFilemarks(TapeDrive* drive) {
  const std::size_t longest = drive->limits().block_size_max;
  const std::vector<std::size_t> sizes = {512, 4, 1'001, 65'536, 262'144, longest, 4'096};
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  for (std::size_t index = 0; index < sizes.size(); ++index) {
    STEP(WriteBlock(drive, index, sizes[index]));
  }
  STEP(Want(Outcome::kDone, "flush", drive->WriteFilemarks(0)));
  STEP(Want(Outcome::kDone, "filemarks", drive->WriteFilemarks(2)));
  STEP(WriteBlock(drive, 100, kSmall));
  STEP(Want(Outcome::kDone, "filemark", drive->WriteFilemarks(1)));

  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  for (std::size_t index = 0; index < sizes.size(); ++index) {
    STEP(WantBlock(drive, index, sizes[index]));
  }
  STEP(WantRead(Outcome::kFilemark, "read the first filemark", drive));
  STEP(WantRead(Outcome::kFilemark, "read the second filemark", drive));
  STEP(WantBlock(drive, 100, kSmall));
  STEP(WantRead(Outcome::kFilemark, "read the last filemark", drive));
  STEP(WantRead(Outcome::kEndOfData, "read at the end of data", drive));

  // A buffer that is too small skips the block, and says how large it has to be.
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  Block small(100);
  const Answer answer = drive->Read(small);
  STEP(Want(Outcome::kBlockTooLong, "read into a small buffer", answer));
  if (answer.bytes != sizes[0]) {
    return Unexpected("length of a skipped block", answer);
  }
  STEP(WantBlock(drive, 1, sizes[1]));
  return "";
}

std::string CheckSpacing(TapeDrive* drive, SpacingOf spacing) {
  STEP(WriteTwoFiles(drive));
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  STEP(Want(Outcome::kDone, "space a filemark", drive->SpaceFilemarks(1)));
  STEP(WantBlock(drive, 4, kSmall));
  STEP(Want(Outcome::kDone, "space a block", drive->SpaceBlocks(1)));
  STEP(WantBlock(drive, 6, kSmall));
  STEP(Want(Outcome::kDone, "space back two blocks", drive->SpaceBlocks(-2)));
  STEP(WantBlock(drive, 5, kSmall));
  if (spacing == SpacingOf::kStandard) {
    STEP(CheckStopsAtFilemarks(drive));
  }
  STEP(Want(Outcome::kDone, "space to the end", drive->SpaceToEndOfData()));
  STEP(WantRead(Outcome::kEndOfData, "read there", drive));
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  STEP(Want(Outcome::kDone, "space a filemark", drive->SpaceFilemarks(1)));
  STEP(Want(Outcome::kBeginning, "space back more filemarks than are", drive->SpaceFilemarks(-5)));
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  STEP(Want(Outcome::kEndOfData, "space more filemarks than are", drive->SpaceFilemarks(5)));
  return "";
}

std::string CheckOverwriting(TapeDrive* drive) {
  STEP(WriteTwoFiles(drive));
  STEP(Want(Outcome::kDone, "space to the end", drive->SpaceToEndOfData()));
  STEP(WriteBlock(drive, 7, kSmall));
  STEP(Want(Outcome::kDone, "filemark", drive->WriteFilemarks(1)));
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  STEP(Want(Outcome::kDone, "space two filemarks", drive->SpaceFilemarks(2)));
  STEP(WantBlock(drive, 7, kSmall));

  // Whatever is written ends the medium behind it.
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  STEP(Want(Outcome::kDone, "space a block", drive->SpaceBlocks(1)));
  STEP(WriteBlock(drive, 50, kSmall));
  STEP(Want(Outcome::kDone, "filemark", drive->WriteFilemarks(1)));
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  STEP(WantBlock(drive, 0, kSmall));
  STEP(WantBlock(drive, 50, kSmall));
  STEP(WantRead(Outcome::kFilemark, "read the new filemark", drive));
  STEP(WantRead(Outcome::kEndOfData, "read the new end", drive));
  return "";
}

std::string CheckPositions(TapeDrive* drive) {
  std::uint64_t object = 0;
  if (!drive->limits().locates) {
    STEP(Want(Outcome::kUnsupported, "locate", drive->Locate(0)));
    STEP(Want(Outcome::kUnsupported, "position", drive->Position(&object)));
    return "";
  }
  STEP(WriteTwoFiles(drive));
  STEP(Want(Outcome::kDone, "position", drive->Position(&object)));
  if (object != 9) {
    return fmt::format("seven blocks and two filemarks end at object {}", object);
  }
  STEP(Want(Outcome::kDone, "locate", drive->Locate(6)));
  STEP(WantBlock(drive, 5, kSmall));
  STEP(Want(Outcome::kDone, "position", drive->Position(&object)));
  return object == 7 ? "" : fmt::format("behind object 6 is object {}", object);
}

std::string CheckWriteProtection(TapeDrive* drive) {
  tape::MountedCartridge cartridge;
  STEP(Want(Outcome::kDone, "inspect", drive->Inspect(&cartridge)));
  if (!cartridge.write_protected) {
    return "the cartridge is not said to be write protected";
  }
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  STEP(Want(Outcome::kWriteProtected, "write", drive->Write(MakeBlock(0, kSmall))));
  STEP(Want(Outcome::kWriteProtected, "filemark", drive->WriteFilemarks(1)));
  return "";
}

std::string CheckThroughput(TapeDrive* drive, std::uint32_t block_count, std::uint32_t block_size,
                            Throughput* throughput) {
  const std::uint64_t bytes = std::uint64_t{block_count} * block_size;
  const std::vector<Block> blocks = {MakeBlock(1, block_size), MakeBlock(2, block_size)};
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  Clock::time_point begin = Clock::now();
  for (std::uint32_t index = 0; index < block_count; ++index) {
    STEP(Want(Outcome::kDone, "write", drive->Write(blocks[index % 2])));
  }
  STEP(Want(Outcome::kDone, "filemark", drive->WriteFilemarks(1)));
  throughput->write_mb_per_s = MegabytesPerSecond(bytes, begin);

  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  Block buffer(block_size);
  begin = Clock::now();
  for (std::uint32_t index = 0; index < block_count; ++index) {
    const Answer answer = drive->Read(buffer);
    STEP(Want(Outcome::kDone, "read", answer));
    if (answer.bytes != block_size || buffer != blocks[index % 2]) {
      return fmt::format("block {} came back otherwise", index);
    }
  }
  throughput->read_mb_per_s = MegabytesPerSecond(bytes, begin);
  STEP(WantRead(Outcome::kFilemark, "read the filemark", drive));
  return "";
}

std::string CheckEndOfMedium(TapeDrive* drive, std::uint32_t block_size,
                             std::uint32_t* block_count) {
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  *block_count = 0;
  Answer answer;
  while (answer.outcome == Outcome::kDone) {
    if (*block_count == kFillBlocksMax) {
      return "the medium does not end";
    }
    answer = drive->Write(MakeBlock(*block_count, block_size));
    ++*block_count;
  }
  STEP(Want(Outcome::kEarlyWarning, "fill the medium", answer));
  for (std::uint32_t index = 0; index < kTrailerBlocks; ++index) {
    STEP(Want(Outcome::kEarlyWarning, "write the trailer",
              drive->Write(MakeBlock(*block_count, kSmall))));
    ++*block_count;
  }
  answer = drive->WriteFilemarks(2);
  if (!answer.done()) {
    return Unexpected("filemarks behind the trailer", answer);
  }
  STEP(Want(Outcome::kDone, "rewind", drive->Rewind()));
  for (std::uint32_t index = 0; index < *block_count; ++index) {
    const bool is_trailer = index >= *block_count - kTrailerBlocks;
    STEP(WantBlock(drive, index, is_trailer ? kSmall : block_size));
  }
  STEP(WantRead(Outcome::kFilemark, "read the first filemark", drive));
  STEP(WantRead(Outcome::kFilemark, "read the second filemark", drive));
  return "";
}

#undef STEP

}  // namespace capstan::test
