// Arguments: a command line of the form --name value --name value.
//
// The parts that the clients share (this, statement.h, session.h, medium.h) know nothing but the
// C++ library, POSIX and vdi.h, as a vendor's program does.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace vendor {

class Arguments {
 public:
  // Ends the program with 2 if a name has no value.
  Arguments(int argc, char** argv);

  bool Has(const std::string& name) const { return values_.count(name) != 0; }
  std::string Get(const std::string& name, const std::string& otherwise = "") const;
  // Every value of a name that may be repeated, in order.
  std::vector<std::string> All(const std::string& name) const;
  // Ends the program with 2 if it is not given.
  std::string Required(const std::string& name) const;
  long Number(const std::string& name, long otherwise) const;

 private:
  std::map<std::string, std::vector<std::string>> values_;
};

}  // namespace vendor
