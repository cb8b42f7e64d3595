#include "tools/plugin_check/report.h"

#include <string_view>

#include "tools/plugin_check/text.h"

namespace capstan::plugin_check {
namespace {

constexpr int kIndent = 51;  // where evidence stands

std::string_view WordOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kKept:
      return "ok";
    case Verdict::kBroken:
      return "FAILED";
    case Verdict::kSkipped:
      return "skipped";
    case Verdict::kUnjudged:
      break;
  }
  return "unjudged";
}

std::string Quoted(std::string_view text) {
  const bool well_formed = IsUtf8(text);
  std::string result = "\"";
  for (const char sign : text) {
    if (sign == '"' || sign == '\\') {
      result += '\\';
      result += sign;
    } else if (static_cast<unsigned char>(sign) >= 0x80 && !well_formed) {
      result += '?';  // a plugin's message may be anything, a report may not
    } else if (static_cast<unsigned char>(sign) < 0x20) {
      result += fmt::format("\\u{:04x}", static_cast<unsigned>(sign));
    } else {
      result += sign;
    }
  }
  return result + '"';
}

}  // namespace

Totals TotalsOf(const std::vector<Finding>& findings) {
  Totals totals;
  for (const Finding& finding : findings) {
    int& count = finding.verdict == Verdict::kKept      ? totals.kept
                 : finding.verdict == Verdict::kBroken  ? totals.broken
                 : finding.verdict == Verdict::kSkipped ? totals.skipped
                                                        : totals.unjudged;
    ++count;
  }
  return totals;
}

std::string HeadLine(const Setup& setup, const Facts& facts) {
  return fmt::format("plugin '{}' {} ({} devices), {}, on '{}'\n{:<13} {:<28} {:<9} {}\n",
                     facts.name, facts.version, facts.device_class, setup.plugin, setup.place,
                     "rule", "clause", "verdict", "what must be true");
}

std::string CardLine(const Finding& finding) {
  std::string line =
      fmt::format("{:<13} {:<28} {:<9} {}\n", finding.clause->rule, finding.clause->name,
                  WordOf(finding.verdict), finding.clause->what);
  if (!finding.evidence.empty()) {
    line += fmt::format("{:{}}  {}\n", "", kIndent, finding.evidence);
  }
  return line;
}

std::string SumLine(const Totals& totals) {
  return fmt::format("{} kept, {} broken, {} skipped, {} not judged\n", totals.kept, totals.broken,
                     totals.skipped, totals.unjudged);
}

std::string JsonReport(const Setup& setup, const Facts& facts,
                       const std::vector<Finding>& findings) {
  const Totals totals = TotalsOf(findings);
  std::string json = fmt::format(
      "{{\n  \"plugin\": {}, \"version\": {}, \"device_class\": {},\n  \"library\": {}, "
      "\"place\": {},\n  \"kept\": {}, \"broken\": {}, \"skipped\": {}, \"unjudged\": {},\n"
      "  \"clauses\": [",
      Quoted(facts.name), Quoted(facts.version), Quoted(facts.device_class), Quoted(setup.plugin),
      Quoted(setup.place), totals.kept, totals.broken, totals.skipped, totals.unjudged);
  for (const Finding& finding : findings) {
    json += fmt::format(
        "{}\n    {{\"clause\": {}, \"rule\": {}, \"verdict\": {}, \"what\": {}, \"evidence\": {}, "
        "\"time_ms\": {}}}",
        &finding == findings.data() ? "" : ",", Quoted(finding.clause->name),
        Quoted(finding.clause->rule), Quoted(WordOf(finding.verdict)), Quoted(finding.clause->what),
        Quoted(finding.evidence), finding.time.count());
  }
  return json + "\n  ]\n}\n";
}

}  // namespace capstan::plugin_check
