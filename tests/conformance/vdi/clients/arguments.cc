#include "arguments.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace vendor {
namespace {

[[noreturn]] void WrongUsage(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(2);
}

}  // namespace

Arguments::Arguments(int argc, char** argv) {
  for (int i = 1; i < argc; i += 2) {
    if (std::strncmp(argv[i], "--", 2) != 0 || i + 1 == argc) {
      WrongUsage(std::string("not of the form --name value: ") + argv[i]);
    }
    values_[argv[i] + 2].push_back(argv[i + 1]);
  }
}

std::string Arguments::Get(const std::string& name, const std::string& otherwise) const {
  return Has(name) ? values_.at(name).back() : otherwise;
}

std::vector<std::string> Arguments::All(const std::string& name) const {
  return Has(name) ? values_.at(name) : std::vector<std::string>();
}

std::string Arguments::Required(const std::string& name) const {
  if (!Has(name)) {
    WrongUsage("--" + name + " is missing");
  }
  return Get(name);
}

long Arguments::Number(const std::string& name, long otherwise) const {
  return Has(name) ? std::strtol(Get(name).c_str(), nullptr, 10) : otherwise;
}

}  // namespace vendor
