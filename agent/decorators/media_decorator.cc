#include "agent/decorators/media_decorator.h"

#include <algorithm>
#include <string_view>

namespace capstan::agent {
namespace {

template <std::size_t kSize>
void Put(std::string_view text, char (&field)[kSize]) {
  const std::size_t size = std::min(text.size(), kSize - 1);
  std::copy_n(text.begin(), size, field);
  field[size] = '\0';
}

}  // namespace

void CompleteWithError(capstan_request* request, std::uint32_t code, const Status& why) {
  request->completion_code = code;
  request->bytes_transferred = 0;
  request->error = {};
  request->error.os_error = why.os_error();
  Put(why.message(), request->error.message);
  Put(why.hint(), request->error.hint);
  request->complete(request);
}

}  // namespace capstan::agent
