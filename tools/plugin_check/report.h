// The score card: one line for each clause as it is judged, and the sum; or all of it as JSON.
#pragma once

#include <string>
#include <vector>

#include "tools/plugin_check/runner.h"

namespace capstan::plugin_check {

struct Totals {
  int kept = 0;
  int broken = 0;
  int skipped = 0;
  int unjudged = 0;
};

Totals TotalsOf(const std::vector<Finding>& findings);

std::string HeadLine(const Setup& setup, const Facts& facts);
std::string CardLine(const Finding& finding);
std::string SumLine(const Totals& totals);

std::string JsonReport(const Setup& setup, const Facts& facts,
                       const std::vector<Finding>& findings);

}  // namespace capstan::plugin_check
