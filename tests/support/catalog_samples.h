// Sample values for tests of the catalog.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/catalog/catalog.h"

namespace capstan::test {

inline catalog::JobRecord SampleJob(std::uint16_t families = 1) {
  catalog::JobRecord job{.job_guid = Guid::Random(),
                         .state = catalog::JobState::kRunning,
                         .statement = "BACKUP DATABASE sales TO DISK = '/b/sales.bak'",
                         .database_name = "sales",
                         .devices = {},
                         .restore_scheme = {},
                         .restore_paths = {}};
  for (std::uint16_t number = 1; number <= families; ++number) {
    job.devices.push_back({.device_class = "DISK",
                           .target = "/b/sales" + std::to_string(number) + ".bak",
                           .token = "token" + std::to_string(number),
                           .media_family_id = 0x4DA1B900u + number,
                           .family_number = number});
  }
  return job;
}

inline media::MediaHeader SampleHeader(std::uint16_t families = 1) {
  media::MediaHeader header;
  header.media_set_id = Guid::Random();
  header.family_count = families;
  header.name = "https://disks/snapshot-7";
  header.description = "the nightly set";
  return header;
}

// A full backup of "sales"; LSNs around 1,000.
inline media::BackupSet SampleSet() {
  media::BackupSet set;
  set.backup_set_guid = Guid::Random();
  set.name = "nightly";
  set.has_checksums = true;
  set.user_name = "dba";
  set.server_name = "host1";
  set.machine_name = "host1";
  set.database_name = "sales";
  set.database_version = "3.40.1";
  set.recovery_model = "FULL";
  set.first_lsn = 1000;
  set.last_lsn = 1100;
  set.checkpoint_lsn = 1050;
  set.database_created_unix_s = 1'700'000'000;
  set.SetStart(1'763'713'709'250'000);
  set.SetFinish(1'763'713'769'000'001);
  set.transfer_size = 1 << 20;
  set.backup_size_bytes = 8192;
  set.files = {{.file_id = 1,
                .logical_name = "sales",
                .physical_name = "/srv/sales.db",
                .type = 'D',
                .size_bytes = 16384,
                .page_size = 4096,
                .backup_size_bytes = 8192,
                .unique_id = Guid::Random()}};
  return set;
}

inline catalog::RestoreRecord SampleRestore(const Guid& backup_set_guid) {
  return {.destination_database = "sales_copy",
          .user_name = "dba",
          .backup_set_guid = backup_set_guid,
          .restore_type = 'D',
          .replace = true,
          .recovery = true,
          .date_unix_s = 1'763'800'000,
          .destination_files = {"/srv/copy.db", "/srv/copy.db-wal"}};
}

// The whole way of a backup through the journal.
inline Status RecordBackup(catalog::Catalog& catalog, const media::MediaHeader& header,
                           const media::BackupSet& set) {
  catalog::JobRecord job = SampleJob(header.family_count);
  job.database_name = set.database_name;
  CAPSTAN_RETURN_IF_ERROR(catalog.BeginJob(job));
  CAPSTAN_RETURN_IF_ERROR(catalog.PrepareBackup(job.job_guid, header, set));
  return catalog.CommitBackup(job.job_guid);
}

}  // namespace capstan::test
