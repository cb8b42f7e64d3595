#include "plugins/tape/scsi/scsi_device.h"

#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace capstan::tape {
namespace {

using Clock = std::chrono::steady_clock;

// One for the login, one for a cartridge that was put in, some for what other hosts have changed.
constexpr int kUnitAttentionsMax = 8;

struct Meaning {
  Outcome outcome;
  std::string words;
};

Meaning MeaningOf(ScsiStatus status, const std::optional<Sense>& sense, CommandKind kind) {
  switch (status) {
    case ScsiStatus::kGood:
      return {Outcome::kDone, ""};
    case ScsiStatus::kBusy:
    case ScsiStatus::kTaskSetFull:
      return {Outcome::kBusy, "the device is busy"};
    case ScsiStatus::kReservationConflict:
      return {Outcome::kBusy, "another program or host has reserved it"};
    case ScsiStatus::kCheckCondition:
      if (!sense.has_value()) {
        return {Outcome::kTransportError, "the device reports an error, but not which"};
      }
      return {OutcomeOf(*sense, kind), WordsOf(*sense)};
  }
  return {Outcome::kTransportError,
          fmt::format("the device answers with status {:#04x}", static_cast<unsigned>(status))};
}

}  // namespace

ScsiDevice::ScsiDevice(std::string name, std::unique_ptr<ScsiTransport> transport)
    : name_(std::move(name)), transport_(std::move(transport)) {}

ScsiReply ScsiDevice::Ask(const ScsiCommand& command, CommandKind kind, std::string_view action) {
  const Clock::time_point begin = Clock::now();
  const ScsiResult result = transport_->Execute(command);
  const auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
  busy_us_.fetch_add(static_cast<std::uint64_t>(elapsed.count()), std::memory_order_relaxed);

  ScsiReply reply{.received = result.received};
  if (!result.transport_error.empty()) {
    reply.answer.outcome = Outcome::kTransportError;
    reply.answer.failure =
        FailureOf(Outcome::kTransportError,
                  fmt::format("unable to {} '{}': {}", action, name_, result.transport_error));
    reply.answer.failure.os_error = result.os_error;
    return reply;
  }
  if (result.status == ScsiStatus::kCheckCondition) {
    reply.sense = ReadSense(result.sense);
  }
  const Meaning meaning = MeaningOf(result.status, reply.sense, kind);
  reply.answer.outcome = meaning.outcome;
  if (IsFailure(meaning.outcome)) {
    reply.answer.failure = FailureOf(
        meaning.outcome, fmt::format("unable to {} '{}': {}", action, name_, meaning.words));
  }
  return reply;
}

Answer ScsiDevice::Do(const CommandBlock& block, std::chrono::milliseconds timeout,
                      std::string_view action) {
  return Ask({.block = block, .timeout = timeout}, CommandKind::kOther, action).answer;
}

Failure ScsiDevice::Greet(PeripheralType type) {
  std::array<std::uint8_t, 96> bytes{};
  const ScsiReply reply = Ask({.block = InquiryCommand(bytes.size()),
                               .timeout = kQuickTimeout,
                               .data_in = std::as_writable_bytes(std::span(bytes))},
                              CommandKind::kOther, "identify");
  if (!reply.answer.done()) {
    return reply.answer.failure;
  }
  const std::optional<InquiryAnswer> inquiry =
      ReadInquiry(std::span<const std::uint8_t>(bytes).first(reply.received));
  if (!inquiry.has_value()) {
    return {.os_error = EPROTO,
            .message = fmt::format("unable to identify '{}': the answer is too short", name_)};
  }
  if (inquiry->type != static_cast<std::uint8_t>(type)) {
    const bool wants_tape = type == PeripheralType::kTape;
    return {.os_error = ENOTSUP,
            .message = fmt::format("'{}' ({} {}) is no {}", name_, inquiry->vendor,
                                   inquiry->product, wants_tape ? "tape drive" : "medium changer"),
            .hint = "look up which logical unit is which: drives and changer have their own"};
  }
  inquiry_ = *inquiry;
  for (int attempt = 0; attempt < kUnitAttentionsMax; ++attempt) {
    const Answer answer = Do(TestUnitReadyCommand(), kQuickTimeout, "ask");
    if (answer.outcome == Outcome::kBusy || answer.outcome == Outcome::kTransportError) {
      return answer.failure;
    }
    if (answer.outcome != Outcome::kMediumChanged) {
      break;
    }
  }
  return {};
}

}  // namespace capstan::tape
