// A logical unit that answers what a test tells it.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plugins/tape/scsi/scsi_transport.h"

namespace capstan::test {

struct ScriptedAnswer {
  tape::ScsiStatus status = tape::ScsiStatus::kGood;
  std::vector<std::uint8_t> sense = {};
  std::vector<std::uint8_t> data = {};
  std::string transport_error = {};
};

inline ScriptedAnswer SenseAnswer(std::uint8_t flags_and_key, std::uint8_t code = 0,
                                  std::uint8_t qualifier = 0, std::int32_t information = 0) {
  const auto bits = static_cast<std::uint32_t>(information);
  return {.status = tape::ScsiStatus::kCheckCondition,
          .sense = {static_cast<std::uint8_t>(information == 0 ? 0x70 : 0xF0), 0, flags_and_key,
                    static_cast<std::uint8_t>(bits >> 24), static_cast<std::uint8_t>(bits >> 16),
                    static_cast<std::uint8_t>(bits >> 8), static_cast<std::uint8_t>(bits), 10, 0, 0,
                    0, 0, code, qualifier, 0, 0, 0, 0}};
}

inline ScriptedAnswer NoSuchCommand() {
  return SenseAnswer(0x05, 0x20, 0x00);
}

// Outlives the transports that lead to it.
class ScriptedUnit {
 public:
  // What the next command with this operation code is answered; those before come first.
  void Next(std::uint8_t operation, ScriptedAnswer answer) {
    next_[operation].push_back(std::move(answer));
  }
  // What it is answered otherwise; without this: good, and zeros.
  void Always(std::uint8_t operation, ScriptedAnswer answer) {
    always_[operation] = std::move(answer);
  }

  std::size_t CountOf(std::uint8_t operation) const {
    return static_cast<std::size_t>(
        std::count_if(commands.begin(), commands.end(),
                      [&](const std::vector<std::uint8_t>& c) { return c[0] == operation; }));
  }
  // Answers that were promised for a next command, and not asked for.
  std::size_t unused() const {
    std::size_t count = 0;
    for (const auto& [operation, answers] : next_) {
      count += answers.size();
    }
    return count;
  }

  std::unique_ptr<tape::ScsiTransport> Connect();

  std::vector<std::vector<std::uint8_t>> commands;
  std::vector<std::byte> data_out;  // of the last command that had any

 private:
  friend class ScriptedTransport;

  std::map<std::uint8_t, std::deque<ScriptedAnswer>> next_;
  std::map<std::uint8_t, ScriptedAnswer> always_;
};

class ScriptedTransport final : public tape::ScsiTransport {
 public:
  explicit ScriptedTransport(ScriptedUnit* unit) : unit_(unit) {}

  tape::ScsiResult Execute(const tape::ScsiCommand& command) override {
    const auto block = command.block.view();
    unit_->commands.emplace_back(block.begin(), block.end());
    if (!command.data_out.empty()) {
      unit_->data_out.assign(command.data_out.begin(), command.data_out.end());
    }
    ScriptedAnswer answer;
    auto& next = unit_->next_[block[0]];
    if (!next.empty()) {
      answer = std::move(next.front());
      next.pop_front();
    } else if (const auto found = unit_->always_.find(block[0]); found != unit_->always_.end()) {
      answer = found->second;
    } else {
      answer.data.resize(command.data_in.size());
    }
    const std::size_t size = std::min(answer.data.size(), command.data_in.size());
    if (size > 0) {
      std::memcpy(command.data_in.data(), answer.data.data(), size);
    }
    return {.transport_error = answer.transport_error,
            .os_error = answer.transport_error.empty() ? 0 : ECONNRESET,
            .status = answer.status,
            .sense = answer.sense,
            .received = size};
  }
  std::string mode() const override { return "scripted"; }

 private:
  ScriptedUnit* const unit_;
};

inline std::unique_ptr<tape::ScsiTransport> ScriptedUnit::Connect() {
  return std::make_unique<ScriptedTransport>(this);
}

// The first 36 bytes of INQUIRY that matter; type 1 is a tape, 8 a changer.
inline ScriptedAnswer InquiryAnswerOf(std::uint8_t type) {
  std::vector<std::uint8_t> data(36, ' ');
  data[0] = type;
  data[4] = 31;
  std::memcpy(data.data() + 8, "TEST    UNIT", 12);
  return {.data = data};
}

}  // namespace capstan::test
