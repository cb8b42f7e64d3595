// TemporaryDirectory: a directory of its own for one test, gone with all that is in it afterwards.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "vdi/base/check.h"

namespace capstan::test {

class TemporaryDirectory {
 public:
  // Below `parent`, by default where the system keeps temporary files.
  explicit TemporaryDirectory(
      const std::string& parent = std::filesystem::temp_directory_path().string()) {
    path_ = parent + "/capstan-test-XXXXXX";
    CAPSTAN_CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string Under(const std::string& name) const { return path_ + "/" + name; }
  // What lies in it, in order of names.
  std::vector<std::string> Leaves() const {
    std::vector<std::string> leaves;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      leaves.push_back(entry.path().filename().string());
    }
    std::sort(leaves.begin(), leaves.end());
    return leaves;
  }

 private:
  std::string path_;
};

}  // namespace capstan::test
