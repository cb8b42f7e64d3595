#include "tools/capstan/commands/commands.h"

namespace capstan::cli {

ExitStatus RunDatabaseAdd(Session& session, const std::string& name, const std::string& location) {
  return RunStatement(session, AttachStatement(name, location), {});
}

ExitStatus RunDatabaseRemove(Session& session, const std::string& name) {
  return RunStatement(session, DetachStatement(name), {});
}

}  // namespace capstan::cli
