#include "plugins/tape/scsi/sg_transport.h"

#include <array>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <scsi/sg.h>

namespace capstan::tape {
namespace {

constexpr std::size_t kSenseSizeMax = 252;
constexpr unsigned kDriverSense = 0x08;  // of driver_status: nothing but "there is sense"

}  // namespace

Failure SgTransport::Open(const std::string& path, std::unique_ptr<DeviceCalls> calls,
                          std::unique_ptr<ScsiTransport>* transport) {
  const int descriptor = calls->Open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) {
    return {.os_error = -descriptor, .message = fmt::format("unable to open device '{}'", path)};
  }
  auto opened = std::make_unique<SgTransport>(calls.get(), descriptor);
  opened->owned_calls_ = std::move(calls);
  *transport = std::move(opened);
  return {};
}

SgTransport::~SgTransport() {
  if (owned_calls_ != nullptr) {
    owned_calls_->Close(descriptor_);
  }
}

ScsiResult SgTransport::Execute(const ScsiCommand& command) {
  std::array<std::uint8_t, kSenseSizeMax> sense{};
  CommandBlock block = command.block;
  sg_io_hdr header{};
  header.interface_id = 'S';
  header.cmd_len = static_cast<unsigned char>(block.size);
  header.cmdp = block.bytes.data();
  header.mx_sb_len = kSenseSizeMax;
  header.sbp = sense.data();
  header.timeout = static_cast<unsigned>(command.timeout.count());
  header.dxfer_direction = SG_DXFER_NONE;
  if (!command.data_out.empty()) {
    header.dxfer_direction = SG_DXFER_TO_DEV;
    header.dxfer_len = static_cast<unsigned>(command.data_out.size());
    // The kernel only reads from it; its struct has one pointer for both directions.
    header.dxferp = const_cast<std::byte*>(command.data_out.data());
  } else if (!command.data_in.empty()) {
    header.dxfer_direction = SG_DXFER_FROM_DEV;
    header.dxfer_len = static_cast<unsigned>(command.data_in.size());
    header.dxferp = command.data_in.data();
  }
  const int called = calls_->Control(descriptor_, SG_IO, &header);
  if (called < 0) {
    return {.transport_error = "the kernel refuses the command", .os_error = -called};
  }
  if (header.host_status != 0 || (header.driver_status & ~kDriverSense) != 0) {
    return {.transport_error = fmt::format("the host adapter reports {:#x}/{:#x}",
                                           header.host_status, header.driver_status)};
  }
  ScsiResult result{.status = static_cast<ScsiStatus>(header.status)};
  const std::size_t sense_size = std::min<std::size_t>(header.sb_len_wr, sense.size());
  result.sense.assign(sense.begin(), sense.begin() + static_cast<std::ptrdiff_t>(sense_size));
  if (!command.data_in.empty()) {
    const int residual = header.resid;
    const auto missing = static_cast<std::size_t>(residual > 0 ? residual : 0);
    result.received = command.data_in.size() - std::min(missing, command.data_in.size());
  }
  return result;
}

}  // namespace capstan::tape
