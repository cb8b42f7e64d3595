// Subject, Device, Request: the plugin under judgement, called as an agent calls it.
//
// Calls that a check only needs on its way (Open, Write, Flush ...) end the check as unjudged when
// they fail; the Try forms return what happened. Nothing here is ever freed that a plugin could
// still touch after it said that it was done.
//
// Threads: a Subject and its devices from one; completions come from any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "capstan/plugin.h"
#include "tools/plugin_check/guarded_buffer.h"

namespace capstan::plugin_check {

struct Setup {
  std::string plugin;  // the path of the library
  std::string place;   // where media may be created and removed
  std::vector<std::pair<std::string, std::string>> options = {};
  std::chrono::milliseconds patience{30'000};  // for one completion
  bool large = false;                          // really write more than 4 GiB
  std::string files = {};  // the folder in which the plugin keeps files; empty: none is known
};

struct Request {
  capstan_request raw{};
  // What complete() saw; the plugin may overwrite raw afterwards, if it lies.
  capstan_request seen{};
  std::atomic<int> completions{0};
  bool accepted = false;
  capstan_error refusal{};

  std::string Describe() const;  // "WRITE of 512 bytes at 0"
};

struct OpenWish {
  std::string target;
  std::string token = "check-1";
  std::uint64_t size_estimate = 0;
  std::uint32_t flags = 0;
};

class Subject;

class Device {
 public:
  Device(Subject& subject, capstan_device* raw) : subject_(&subject), raw_(raw) {}

  // Hands a request in; `seen` says how it ended once it is complete.
  Request& Submit(int op, unsigned char* buffer, std::uint32_t size, std::int64_t position);
  Request& StartWrite(const GuardedBuffer& buffer, std::uint64_t position);
  Request& StartRead(const GuardedBuffer& buffer, std::uint64_t position);
  bool WaitFor(Request& request);  // false: not complete within the patience
  // Waits; anything but an accepted request that is completed with 0 is unjudged.
  void Expect(Request& request);
  // Waits; how a request ended that may well fail: a refusal counts as E_UNSUPPORTED.
  std::uint32_t CodeOf(Request& request);

  void Write(const GuardedBuffer& buffer, std::uint64_t position);
  void Run(int op);  // FLUSH, COMPLETE and the like
  bool TryClose(capstan_outcome outcome, capstan_error* error);
  void Close(capstan_outcome outcome);

  capstan_device* raw() const { return raw_; }

 private:
  Subject* subject_;
  capstan_device* raw_;
};

class Subject {
 public:
  // Loads and configures; unjudged if that fails.
  explicit Subject(const Setup& setup);

  const capstan_plugin& abi() const { return *plugin_; }
  const Setup& setup() const { return setup_; }
  bool Can(std::uint32_t capability) const { return (plugin_->capabilities & capability) != 0; }
  bool Has(std::uint32_t feature) const { return (plugin_->device_features & feature) != 0; }

  // Rounded up to what the plugin wants transfers and positions to be multiples of.
  std::uint32_t Aligned(std::uint32_t size) const;

  // 0 and *raw, or -1 and *error.
  int TryOpen(capstan_open_mode mode, const OpenWish& wish, capstan_device** raw,
              capstan_error* error);
  Device Open(capstan_open_mode mode, const OpenWish& wish);
  capstan_stat_result Stat(const std::string& target);
  int TryRemove(const std::string& target, capstan_error* error);
  int TryRecover(const OpenWish& wish, capstan_recover_action action, capstan_error* error);
  void Recover(const OpenWish& wish, capstan_recover_action action);

  // A finished medium of `blocks` blocks of 64 KiB.
  void MakeMedium(capstan_open_mode mode, const OpenWish& wish, unsigned seed, int blocks = 1);
  // Writes them without ending it.
  void WriteBlocks(Device& device, unsigned seed, int blocks, std::uint64_t from = 0);
  // Empty, or in what way the medium is not exactly those blocks.
  std::string MediumDifference(const std::string& target, unsigned seed, int blocks = 1);

 private:
  const Setup& setup_;
  const capstan_plugin* plugin_ = nullptr;
};

inline constexpr std::uint32_t kBlock = 65536;

// Loads the library; null and *why if it is no plugin.
const capstan_plugin* LoadPlugin(const std::string& path, std::string* why);
std::string MessageOf(const capstan_error& error);  // with the errno, if there is one

}  // namespace capstan::plugin_check
