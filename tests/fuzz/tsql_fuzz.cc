// libFuzzer over the statement parser and the batch splitter: any bytes give statements or an
// error.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "server/tsql/parser.h"
#include "vdi/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = capstan::tsql::ParseBatch(text);
  if (const auto* error = std::get_if<capstan::tsql::ParseError>(&parsed)) {
    CAPSTAN_CHECK(!error->status.ok() && error->status.reason() != 0 && error->line >= 1);
  }
  std::size_t split = 0;
  for (const auto& batch : capstan::tsql::SplitBatches(text)) {
    split += batch.size();
  }
  CAPSTAN_CHECK(split <= size + (16U << 20));
  return 0;
}
