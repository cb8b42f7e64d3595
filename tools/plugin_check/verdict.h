// What a check has found. A check runs in processes of its own and ends them the moment it knows:
// there is nothing to unwind, and nothing that a plugin has broken can speak any more.
//
// Threads: any. The first verdict of a check counts.
#pragma once

#include <string>
#include <utility>

#include <fmt/format.h>

namespace capstan::plugin_check {

enum class Verdict : char {
  kKept = 'k',
  kBroken = 'b',
  kSkipped = 's',   // the plugin does not announce it, or this machine cannot show it
  kUnjudged = 'u',  // the check could not get that far, for a reason that is not its own
};

// The exit status of a process that has given a verdict.
inline constexpr int kJudgedStatus = 111;

// Where verdicts of this process and its children go: the verdict's character, then the evidence.
void SendVerdictsTo(int fd);

[[noreturn]] void GiveVerdict(Verdict verdict, const std::string& evidence);

template <typename... Args>
[[noreturn]] void Broken(fmt::format_string<Args...> format, Args&&... args) {
  GiveVerdict(Verdict::kBroken, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void Skip(fmt::format_string<Args...> format, Args&&... args) {
  GiveVerdict(Verdict::kSkipped, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
[[noreturn]] void Unjudged(fmt::format_string<Args...> format, Args&&... args) {
  GiveVerdict(Verdict::kUnjudged, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace capstan::plugin_check
