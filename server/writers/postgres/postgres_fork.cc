#include "server/writers/postgres/postgres_fork.h"

#include <cstring>

namespace capstan::writers {
namespace {

// SplitMix64's finisher: one-to-one, so different positions stay different.
std::uint64_t Mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58'476D'1CE4'E5B9;
  value = (value ^ (value >> 27)) * 0x94D0'49BB'1331'11EB;
  return value ^ (value >> 31);
}

}  // namespace

Guid PostgresFork(std::uint64_t system_identifier, std::uint32_t timeline, Lsn begin) {
  const std::uint64_t position = Mix(begin.value ^ Mix(timeline));
  Guid fork;
  std::memcpy(fork.bytes.data(), &system_identifier, sizeof(system_identifier));
  std::memcpy(fork.bytes.data() + sizeof(system_identifier), &position, sizeof(position));
  return fork;
}

}  // namespace capstan::writers
