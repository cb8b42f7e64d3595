// What a PostgreSQL backup set says of itself, written by anybody: bundles, manifests, and what a
// set knows of its cluster. They are refused, or what they say can be used as it is: no path leads
// out of its folder, and no byte lies outside of the input.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "server/writers/postgres/bundle.h"
#include "server/writers/postgres/cluster_manifest.h"
#include "server/writers/postgres/postgres_set.h"

namespace {

using namespace capstan::writers;

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

bool StaysBelow(std::string_view path) {
  return !path.empty() && path.front() != '/' && path != ".." && !path.starts_with("../") &&
         path.find("/../") == std::string_view::npos && !path.ends_with("/..");
}

void CheckBundle(std::span<const std::byte> input) {
  const auto parts = DecodeBundle(input);
  if (!parts.ok()) {
    return;
  }
  for (const BundlePart& part : *parts) {
    Require(part.entry.kind == BundleEntry::Kind::kManifest ? part.entry.path.empty()
                                                            : StaysBelow(part.entry.path));
    Require(part.entry.offset + part.entry.length >= part.entry.offset);
    Require(part.bytes.size() == part.entry.payload_length());
    Require(part.bytes.empty() ||
            (part.bytes.data() >= input.data() &&
             part.bytes.data() + part.bytes.size() <= input.data() + input.size()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  CheckBundle(input);
  if (const auto manifest = DecodeManifest(input); manifest.ok()) {
    for (const ClusterManifest::File& file : manifest->files) {
      Require(StaysBelow(file.path));
    }
    const std::vector<std::byte> again = EncodeManifest(*manifest);
    Require(std::equal(again.begin(), again.end(), input.begin(), input.end()));
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto set = DecodePostgresSet(text); set.ok()) {
    Require(set->data_directory.starts_with('/'));
    Require(EncodePostgresSet(*set).ok() || size > (64U << 10));
  }
  return 0;
}
