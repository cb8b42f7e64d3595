// MemoryPlugin: a media plugin that keeps its media in this process, behind the same C functions as
// a real one. Passes the conformance suite of tests/conformance/plugins.
//
// Requests complete on a thread of the device, so that users meet the asynchrony of the real thing.
// Media are shared by all devices of the process; a test calls ForgetMemoryMedia first.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "capstan/plugin.h"

namespace capstan::test {

const capstan_plugin* MemoryPlugin();

void ForgetMemoryMedia();
bool MemoryMediumExists(const std::string& target);
std::vector<std::byte> MemoryMediumBytes(const std::string& target);
// How many constructions are neither complete nor discarded.
std::size_t MemoryConstructionCount();

}  // namespace capstan::test
