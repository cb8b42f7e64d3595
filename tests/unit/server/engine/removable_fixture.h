// RemovableFixture: TapeFixture once for every kind of device whose media can be changed.
#pragma once

#include <cstdint>
#include <string>

#include "tests/unit/server/engine/tape_fixture.h"

namespace capstan::engine {

struct RemovableKind {
  const char* name;
  std::uint32_t features;
};

// To be instantiated with AllRemovableKinds() and RemovableKindName.
class RemovableFixture : public TapeFixture, public testing::WithParamInterface<RemovableKind> {
 protected:
  RemovableFixture() { devices_.options.features = GetParam().features; }
};

inline auto AllRemovableKinds() {
  return testing::Values(
      RemovableKind{"tape", vdi::feature::kLikeTape},
      RemovableKind{"pipe", vdi::feature::kRemovable},
      RemovableKind{"disk", vdi::feature::kLikeDisk | vdi::feature::kRemovable},
      RemovableKind{"completing_tape", vdi::feature::kLikeTape | vdi::feature::kRequestComplete});
}

inline std::string RemovableKindName(const testing::TestParamInfo<RemovableKind>& kind) {
  return kind.param.name;
}

}  // namespace capstan::engine
