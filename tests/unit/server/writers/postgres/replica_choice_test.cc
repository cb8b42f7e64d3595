#include "server/writers/postgres/replica_choice.h"

#include <gtest/gtest.h>

namespace capstan::writers {
namespace {

struct Row {
  BackupPreference preference;
  ServerWanted full;
  ServerWanted differential;
  ServerWanted log;
  ServerWanted copy_only;
};

// S2-32 to S2-35, S0-21, S0-22; where the secondary is preferred, the primary does if there is
// none.
TEST(ReplicaChoice, IsThatOfTheTable) {
  using enum ServerWanted;
  for (const Row& row : {
           Row{BackupPreference::kPrimary, kPrimary, kPrimary, kPrimary, kPrimary},
           Row{BackupPreference::kSecondaryOnly, kPrimary, kPrimary, kStandby, kStandby},
           Row{BackupPreference::kPreferSecondary, kPrimary, kPrimary, kPreferStandby,
               kPreferStandby},
           Row{BackupPreference::kAny, kPrimary, kPrimary, kPreferStandby, kPreferStandby},
       }) {
    SCOPED_TRACE(static_cast<int>(row.preference));
    EXPECT_EQ(ChooseServer(row.preference, BackupKind::kFull, false), row.full);
    EXPECT_EQ(ChooseServer(row.preference, BackupKind::kDifferential, false), row.differential);
    EXPECT_EQ(ChooseServer(row.preference, BackupKind::kLog, false), row.log);
    EXPECT_EQ(ChooseServer(row.preference, BackupKind::kFull, true), row.copy_only);
  }
}

}  // namespace
}  // namespace capstan::writers
