// Runner: carries a clause out in a process of its own, within a time, and says what came of it.
//
// Whatever a plugin does there (crash, hang, exit, print) is a finding and ends that process only.
// Threads: one.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "tools/plugin_check/case.h"
#include "tools/plugin_check/clauses.h"
#include "tools/plugin_check/verdict.h"

namespace capstan::plugin_check {

struct Finding {
  const Clause* clause = nullptr;
  Verdict verdict = Verdict::kKept;
  std::string evidence = {};
  std::chrono::milliseconds time{0};
};

class Runner {
 public:
  explicit Runner(const Setup& setup) : setup_(setup) {}

  // What the plugin says of itself. Nothing: it cannot be loaded, and *why says so.
  std::optional<Facts> Learn(std::string* why);

  Finding Judge(const Clause& clause, const Facts& facts);

 private:
  struct Outcome {
    std::string verdict;  // as GiveVerdict writes it; empty: the process gave none
    std::string printed;
    int wait_status = 0;
    bool in_time = true;
  };
  // In a process of its own, which is killed with all of its children after `limit`.
  template <typename Body>
  Outcome Run(std::chrono::milliseconds limit, const Body& body);
  void CleanUp(const Case& test);
  std::chrono::milliseconds Limit() const;

  const Setup& setup_;
  std::string printed_;  // the first that came out, and in which clause
};

}  // namespace capstan::plugin_check
