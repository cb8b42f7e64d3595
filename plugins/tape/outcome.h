// What the answers of a drive mean to the engine: completion codes, errno, and words.
#pragma once

#include <cstdint>
#include <string>

#include "plugins/tape/failure.h"
#include "plugins/tape/tape_drive.h"

namespace capstan::tape {

// How a request ended.
struct Done {
  std::uint32_t code = CAPSTAN_E_OK;
  std::uint32_t bytes = 0;    // READ, WRITE
  std::int64_t position = 0;  // GET_POSITION, SET_POSITION
  Failure failure = {};       // filled in whenever `code` is an error
};

// VDI's code for spacing back beyond the beginning, for which plugin.h has no name.
inline constexpr std::uint32_t kBeginningOfMedium = 1102;

// `op`: CAPSTAN_OP_*, as reading and writing have codes of their own.
std::uint32_t CompletionCodeOf(Outcome outcome, std::int32_t op);

// The answer's own failure, or one in our words: "unable to <what>: <cause>". REQUIRES: not done.
Failure FailureOf(const Answer& answer, const std::string& what);

Done DoneWith(const Answer& answer, std::int32_t op, const std::string& what);

}  // namespace capstan::tape
