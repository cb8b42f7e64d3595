#include "plugins/tape/scsi/scsi_changer.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace capstan::tape {
namespace {

constexpr std::uint8_t kElementPage = 0x1D;
// Asked for at once: the answer to as many fits into a transfer that every host adapter does.
constexpr std::uint16_t kElementsMax = 400;
constexpr std::uint32_t kElementSizeMax = 160;
constexpr std::uint32_t kHeadersSize = 16;
// Doors that are opened and cartridges that are put in are told one by one.
constexpr int kAttempts = 4;

bool WantsInventory(const std::optional<Sense>& sense) {
  return sense.has_value() && sense->key == 0x2 && sense->code == 0x04 && sense->qualifier == 0x02;
}

}  // namespace

ScsiChanger::ScsiChanger(const std::string& name, std::unique_ptr<ScsiTransport> transport)
    : device_(name, std::move(transport)) {}

Failure ScsiChanger::Open(const std::string& name, std::unique_ptr<ScsiTransport> transport,
                          std::unique_ptr<MediumChanger>* changer) {
  std::unique_ptr<ScsiChanger> opened(new ScsiChanger(name, std::move(transport)));
  Failure failure = opened->device_.Greet(PeripheralType::kChanger);
  if (failure.failed()) {
    return failure;
  }
  const Answer answer = opened->ReadAddresses();
  if (!answer.done()) {
    return answer.failure;
  }
  *changer = std::move(opened);
  return {};
}

Answer ScsiChanger::ReadAddresses() {
  std::array<std::uint8_t, 64> bytes{};
  const ScsiReply reply = device_.Ask({.block = ModeSenseCommand(kElementPage, bytes.size()),
                                       .timeout = kQuickTimeout,
                                       .data_in = std::as_writable_bytes(std::span(bytes))},
                                      CommandKind::kOther, "ask the elements of");
  if (!reply.answer.done()) {
    return reply.answer;
  }
  const auto addresses =
      ReadElementAddresses(std::span<const std::uint8_t>(bytes).first(reply.received));
  if (!addresses.has_value()) {
    return {.outcome = Outcome::kHardwareError,
            .failure = FailureOf(
                Outcome::kHardwareError,
                fmt::format("library '{}' does not say which elements it has", device_.name()))};
  }
  addresses_ = *addresses;
  return {};
}

Answer ScsiChanger::Inventory(std::vector<Element>* elements) {
  Answer answer;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    elements->clear();
    answer = ReadAddresses();
    if (answer.done()) {
      answer = ReadAll(elements);
    }
    if (answer.outcome != Outcome::kMediumChanged) {
      break;
    }
  }
  return answer;
}

// One type after the other: there are libraries that answer wrongly when asked for all at once.
Answer ScsiChanger::ReadAll(std::vector<Element>* elements) {
  bool counted = false;
  for (std::size_t index = 0; index < addresses_.size(); ++index) {
    ElementRange range{.type = static_cast<std::uint8_t>(index + 1)};
    for (std::uint32_t done = 0; done < addresses_[index].count; done += range.count) {
      range.first_address = static_cast<std::uint16_t>(addresses_[index].first + done);
      range.count = static_cast<std::uint16_t>(
          std::min<std::uint32_t>(kElementsMax, addresses_[index].count - done));
      ScsiReply reply = ReadSome(range, elements);
      if (WantsInventory(reply.sense) && !counted) {
        counted = true;
        const Answer initialized =
            device_.Do(InitializeElementStatusCommand(), kMotionTimeout, "take the inventory of");
        if (!initialized.done()) {
          return initialized;
        }
        reply = ReadSome(range, elements);
      }
      if (!reply.answer.done()) {
        return reply.answer;
      }
    }
  }
  return {};
}

ScsiReply ScsiChanger::ReadSome(const ElementRange& range, std::vector<Element>* elements) {
  std::vector<std::uint8_t> bytes(kHeadersSize + range.count * kElementSizeMax);
  const auto size = static_cast<std::uint32_t>(bytes.size());
  ScsiReply reply = device_.Ask({.block = ReadElementStatusCommand(range, size),
                                 .timeout = kTransferTimeout,
                                 .data_in = std::as_writable_bytes(std::span(bytes))},
                                CommandKind::kOther, "read the elements of");
  if (reply.answer.done() &&
      !ReadElements(std::span<const std::uint8_t>(bytes).first(reply.received), elements)) {
    reply.answer = {.outcome = Outcome::kHardwareError,
                    .failure = FailureOf(Outcome::kHardwareError,
                                         fmt::format("library '{}' describes its elements in a way "
                                                     "that makes no sense",
                                                     device_.name()))};
  }
  return reply;
}

Answer ScsiChanger::Move(std::uint32_t from, std::uint32_t to) {
  if (from > UINT16_MAX || to > UINT16_MAX) {
    return {.outcome = Outcome::kUnsupported,
            .failure = {.os_error = EINVAL,
                        .message = fmt::format("library '{}' has no element {}", device_.name(),
                                               std::max(from, to))}};
  }
  const CommandBlock block = MoveMediumCommand(
      addresses_[0].first, static_cast<std::uint16_t>(from), static_cast<std::uint16_t>(to));
  const std::string action = fmt::format("move the cartridge from element {} to {} of", from, to);
  Answer answer = device_.Do(block, kMotionTimeout, action);
  for (int attempt = 1; attempt < kAttempts && answer.outcome == Outcome::kMediumChanged;
       ++attempt) {
    answer = device_.Do(block, kMotionTimeout, action);  // it was not done
  }
  return answer;
}

}  // namespace capstan::tape
