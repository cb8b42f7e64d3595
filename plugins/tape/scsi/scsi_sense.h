// What a device says about a command that did not simply succeed: sense data, as an Outcome and in
// words.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

struct Sense {
  std::uint8_t key = 0;
  std::uint8_t code = 0;       // additional sense code
  std::uint8_t qualifier = 0;  // additional sense code qualifier
  bool filemark = false;
  bool end_of_medium = false;
  bool incorrect_length = false;
  bool deferred = false;  // it is an earlier command that failed; this one was not done
  std::optional<std::int64_t> information = {};
};

// Both formats, fixed and descriptor; nullopt if it is neither, or too short for a key.
std::optional<Sense> ReadSense(std::span<const std::uint8_t> bytes);

// End of medium means something else to each.
enum class CommandKind { kRead, kWrite, kSpace, kOther };

Outcome OutcomeOf(const Sense& sense, CommandKind kind);

// "medium error: unrecovered read error (3/11/00)"
std::string WordsOf(const Sense& sense);

// Whether an outcome is a failure that has to be told in words, and not a thing met on the way.
bool IsFailure(Outcome outcome);

// `message` with what belongs to the outcome: errno, advice, and whether it may pass by itself.
Failure FailureOf(Outcome outcome, std::string message);

}  // namespace capstan::tape
