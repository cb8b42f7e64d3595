#include "tools/client/script_file.h"

#include <array>
#include <cerrno>
#include <memory>

namespace capstan::cli {

Result<std::string> ReadStream(std::FILE* stream, const std::string& name) {
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), stream);
    text.append(buffer.data(), size);
    if (size < buffer.size()) {
      break;
    }
  }
  if (std::ferror(stream) != 0) {
    return OsError(errno, "unable to read " + name);
  }
  return text;
}

Result<std::string> ReadScriptFile(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(path.c_str(), "re"), [](std::FILE* f) { return std::fclose(f); });
  if (file == nullptr) {
    return OsError(errno, "unable to open '" + path + "'");
  }
  return ReadStream(file.get(), "'" + path + "'");
}

}  // namespace capstan::cli
