// ScsiChanger: the robot of a library, asked in SCSI (SMC), over any transport.
//
// Threads: as MediumChanger.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "plugins/tape/scsi/scsi_device.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

class ScsiChanger final : public MediumChanger {
 public:
  // Nothing is reserved: other hosts may have drives of the same library. `name` is what messages
  // call it.
  static Failure Open(const std::string& name, std::unique_ptr<ScsiTransport> transport,
                      std::unique_ptr<MediumChanger>* changer);

  Answer Inventory(std::vector<Element>* elements) override;
  Answer Move(std::uint32_t from, std::uint32_t to) override;

 private:
  ScsiChanger(const std::string& name, std::unique_ptr<ScsiTransport> transport);

  Answer ReadAddresses();
  Answer ReadAll(std::vector<Element>* elements);
  ScsiReply ReadSome(const ElementRange& range, std::vector<Element>* elements);

  ScsiDevice device_;
  std::array<ElementAddresses, 4> addresses_;  // in the order of ElementType
};

}  // namespace capstan::tape
