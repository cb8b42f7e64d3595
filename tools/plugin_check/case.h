// Case: what one check works with: names of its own, and processes of its own.
//
// A check that needs several processes, one after the other, uses In and Dying only, and never
// plugin(): a process that has loaded the plugin may have threads, and is not forked.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tools/plugin_check/subject.h"

namespace capstan::plugin_check {

// What the plugin says of itself, as the judging process knows it without loading it.
struct Facts {
  char name[64] = {};
  char version[64] = {};
  char device_class[32] = {};
  std::uint32_t capabilities = 0;
  std::uint32_t device_features = 0;
  std::uint32_t alignment = 0;
  bool configures = false;
};

class Case {
 public:
  Case(const Setup& setup, const Facts& facts, std::string name)
      : setup_(setup), facts_(facts), name_(std::move(name)) {}

  const Setup& setup() const { return setup_; }
  const Facts& facts() const { return facts_; }
  bool sequential() const { return (facts_.device_features & CAPSTAN_FEATURE_FILE_MARKS) != 0; }

  // A medium of this check. A tape drive has one place only, and that is what was given.
  OpenWish Wish(const std::string& suffix = "") const;

  // The plugin, in this process.
  Subject& plugin();

  // Runs it in another process, which loads the plugin, and waits for its end. A verdict given
  // there ends this process, too.
  void In(const std::function<void(Subject&)>& run) const;
  // As In; the process kills itself (SIGKILL) at the end of `run`.
  void Dying(const std::function<void(Subject&)>& run) const;

 private:
  const Setup& setup_;
  const Facts& facts_;
  const std::string name_;
  std::unique_ptr<Subject> plugin_;
};

}  // namespace capstan::plugin_check
