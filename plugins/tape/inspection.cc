#include "plugins/tape/inspection.h"

#include <vector>

namespace capstan::tape {

Answer InspectFromBeginning(TapeDrive& drive, MountedCartridge* cartridge) {
  Answer answer = drive.Rewind();
  if (answer.done()) {
    answer = drive.Inspect(cartridge);
  }
  const bool told = cartridge->blank || cartridge->remaining_bytes != UINT64_MAX;
  if (!answer.done() || told) {
    return answer;
  }
  std::vector<std::byte> block(drive.limits().block_size_max);
  const Answer read = drive.Read(block);
  cartridge->blank = read.outcome == Outcome::kEndOfData;
  // Data that cannot be read is data.
  return drive.Rewind();
}

}  // namespace capstan::tape
