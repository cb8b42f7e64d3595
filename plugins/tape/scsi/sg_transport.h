// SgTransport: commands through the kernel's SG_IO, to /dev/sgN, /dev/schN or a drive's own node.
#pragma once

#include <memory>
#include <string>

#include "plugins/tape/failure.h"
#include "plugins/tape/scsi/device_calls.h"
#include "plugins/tape/scsi/scsi_transport.h"

namespace capstan::tape {

class SgTransport final : public ScsiTransport {
 public:
  // Opens the node, and closes it in the end.
  static Failure Open(const std::string& path, std::unique_ptr<DeviceCalls> calls,
                      std::unique_ptr<ScsiTransport>* transport);

  // On a node that the caller has opened; both outlive this.
  SgTransport(DeviceCalls* calls, int descriptor) : calls_(calls), descriptor_(descriptor) {}
  ~SgTransport() override;
  SgTransport(const SgTransport&) = delete;
  SgTransport& operator=(const SgTransport&) = delete;

  ScsiResult Execute(const ScsiCommand& command) override;
  std::string mode() const override { return "SCSI generic"; }

 private:
  std::unique_ptr<DeviceCalls> owned_calls_;  // null on a node that is the caller's
  DeviceCalls* calls_;
  int descriptor_;
};

}  // namespace capstan::tape
