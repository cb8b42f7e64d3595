"""Media of SQL Server: listed and verified by statements; never written to, never restored."""

from __future__ import annotations

import os
import subprocess
import unittest
from pathlib import Path

from harness import Programs, ServerTestCase, disks, main, quoted
from test_main_job import FILE_COLUMNS, HEADER_COLUMNS, LABEL_COLUMNS

SAMPLES = Path(os.environ.get("CAPSTAN_SQLSERVER_SAMPLES", "/nonexistent"))
VERIFY = "RESTORE VERIFYONLY"

# Columns of msdb.dbo.backupset, and of HEADERONLY, that are the same.
HISTORY_COLUMNS = {
    "backup_set_uuid": "BackupSetGUID", "position": "Position", "database_name": "DatabaseName",
    "first_lsn": "FirstLSN", "last_lsn": "LastLSN", "checkpoint_lsn": "CheckpointLSN",
    "database_backup_lsn": "DatabaseBackupLSN", "backup_start_date": "BackupStartDate",
    "backup_finish_date": "BackupFinishDate", "backup_size": "BackupSize",
    "compressed_backup_size": "CompressedBackupSize", "server_name": "ServerName",
    "machine_name": "MachineName", "software_major_version": "SoftwareVersionMajor",
    "software_build_version": "SoftwareVersionBuild", "software_vendor_id": "SoftwareVendorId",
    "is_copy_only": "IsCopyOnly", "has_backup_checksums": "HasBackupChecksums",
    "recovery_model": "RecoveryModel", "family_guid": "FamilyGUID", "database_guid": "BindingID",
    "differential_base_lsn": "DifferentialBaseLSN", "collation_name": "Collation",
    "last_recovery_fork_guid": "RecoveryForkID", "flags": "Flags", "time_zone": "TimeZone",
    "begins_log_chain": "BeginsLogChain", "compression_algorithm": "CompressionAlgorithm",
}


def text_of(value: object) -> str | None:
    """Types of the two differ: bigint here is numeric(20,0) there."""
    return None if value is None else str(value)


class SqlServerMedia(ServerTestCase):

    def setUp(self) -> None:
        super().setUp()
        subprocess.run([Programs.path("sqlserver_media_maker"), self.server.media], check=True,
                       timeout=60)

    def medium(self, name: str) -> Path:
        return self.server.media / name

    def rows(self, query: str, medium: Path, options: str = "") -> list[dict[str, object]]:
        suffix = f" WITH {options}" if options else ""
        return self.server.query(f"RESTORE {query} FROM {disks(medium)}{suffix}")

    def check_verifies(self, *media: Path, options: str = "") -> None:
        suffix = f" WITH {options}" if options else ""
        outcome = self.assert_done(self.server.exec(f"{VERIFY} FROM {disks(*media)}{suffix}"))
        self.assertIn("is valid.", outcome.stdout)

    def test_every_form_is_listed_with_all_columns(self) -> None:
        for name, major, compressed, sets in (("version9.bak", 9, 0, 1), ("version10.bak", 10, 0, 1),
                                              ("version13.bak", 13, 1, 1),
                                              ("version15.trn", 15, 0, 1),
                                              ("version17.bak", 17, 0, 2)):
            medium = self.medium(name)
            (label,) = self.rows("LABELONLY", medium)
            self.assertEqual(list(label), LABEL_COLUMNS)
            self.assertEqual(label["SoftwareName"], "Microsoft SQL Server")
            self.assertEqual(int(label["IsCompressed"]), compressed)
            headers = self.rows("HEADERONLY", medium)
            self.assertEqual(len(headers), sets)
            self.assertEqual(list(headers[0]), HEADER_COLUMNS)
            self.assertEqual(int(headers[-1]["Position"]), sets)
            self.assertEqual(int(headers[0]["SoftwareVersionMajor"]), major)
            self.assertEqual(headers[0]["FirstLSN"], "37000000043000037")
            files = self.rows("FILELISTONLY", medium, f"FILE = {sets}")
            self.assertEqual(list(files[0]), FILE_COLUMNS)
            self.assertEqual([row["Type"] for row in files], ["D", "L"])
            self.check_verifies(medium, options=f"FILE = {sets}")

    def test_stripes_verify_together_only(self) -> None:
        first, second = self.medium("stripe1.bak"), self.medium("stripe2.bak")
        self.check_verifies(first, second)
        self.check_verifies(second, first)
        self.assert_error(self.server.verify(first), 3132, 2, 1, terminated="VERIFY DATABASE")

    def test_verification_loads_history(self) -> None:
        secret = "MEDIAPASSWORD = 'secret'"
        for names, sets, options in ((["version9.bak"], 1, ""), (["version13.bak"], 1, ""),
                                     (["version15.trn"], 1, ""), (["version17.bak"], 2, ""),
                                     (["password.bak"], 1, secret),
                                     (["stripe1.bak", "stripe2.bak"], 1, "")):
            media = [self.medium(name) for name in names]
            before = len(self.server.backup_sets())
            options = f"LOADHISTORY, {options}" if options else "LOADHISTORY"
            self.check_verifies(*media, options=options)
            self.assertEqual(len(self.server.backup_sets()), before + sets, names)
            self.check_verifies(*media, options=options)
            self.assertEqual(len(self.server.backup_sets()), before + sets, "known by now")
            families = self.server.query(
                "SELECT family_sequence_number, physical_device_name, physical_block_size FROM "
                "msdb.dbo.backupmediafamily WHERE media_set_id = (SELECT max(media_set_id) FROM "
                "msdb.dbo.backupmediaset) ORDER BY family_sequence_number")
            self.assertEqual([row["physical_device_name"] for row in families],
                             [str(medium) for medium in media])
            self.check_history(media[0], secret if options.endswith(secret) else "")
        # What is known of SQL Server's backups is not taken for backups of this server.
        latest = self.server.run("restore", "copied", "--latest=sales", "--to",
                                 self.server.db / "copy.db")
        self.assertNotEqual(latest.exit_code, 0)
        self.assertNotIn(65013, latest.numbers)

    def check_history(self, medium: Path, options: str) -> None:
        """The last media set's rows, against what HEADERONLY and FILELISTONLY say."""
        headers = self.rows("HEADERONLY", medium, options)
        sets = self.server.query("SELECT * FROM msdb.dbo.backupset WHERE media_set_id = (SELECT "
                                 "max(media_set_id) FROM msdb.dbo.backupmediaset) ORDER BY position")
        self.assertEqual(len(sets), len(headers))
        for row, header in zip(sets, headers):
            for column, listed in HISTORY_COLUMNS.items():
                self.assertEqual(text_of(row[column]), text_of(header[listed]), (medium, column))
            self.assertEqual(row["type"], {1: "D", 2: "L", 5: "I"}[int(header["BackupType"])])
            suffix = f", {options}" if options else ""
            files = self.server.query("SELECT logical_name, physical_name, file_size FROM "
                                      "msdb.dbo.backupfile WHERE backup_set_id = "
                                      f"{row['backup_set_id']} ORDER BY file_number")
            self.assertEqual(sorted([text_of(cell) for cell in file.values()] for file in files),
                             sorted([text_of(file[column])
                                     for column in ("LogicalName", "PhysicalName", "Size")]
                              for file in self.rows("FILELISTONLY", medium,
                                                    f"FILE = {row['position']}{suffix}")))

    def test_damaged_media_leave_no_history(self) -> None:
        medium = self.medium("version10.bak")
        content = bytearray(medium.read_bytes())
        content[40000] ^= 4
        medium.write_bytes(content)
        outcome = self.server.exec(f"{VERIFY} FROM {disks(medium)} WITH LOADHISTORY")
        self.assert_error(outcome, 65004, medium, terminated="VERIFY DATABASE")
        self.assertEqual(self.server.backup_sets(), [])

    def test_folders_of_media_load_history(self) -> None:
        loaded = self.server.query(f"EXEC sp_load_history {quoted(self.server.media)}")
        by_name = {Path(str(row["path"])).name: row for row in loaded}
        self.assertEqual({name for name, row in by_name.items() if row["status"] != "loaded"},
                         {"password.bak", "stripe2.bak"})
        self.assertEqual(by_name["stripe2.bak"]["status"], "known")
        self.assertEqual(int(by_name["version17.bak"]["sets_added"]), 2)

    def test_a_sample_is_refused(self) -> None:
        for names, options in ((["version13.bak"], ""), (["stripe2.bak", "stripe1.bak"], ""),
                               (["password.bak"], ", MEDIAPASSWORD = 'secret'")):
            media = [self.medium(name) for name in names]
            outcome = self.server.exec(
                f"{VERIFY} FROM {disks(*media)} WITH SAMPLE = 10 PERCENT, LOADHISTORY{options}")
            self.assert_error(outcome, 65022, media[0], "leave SAMPLE out",
                              terminated="VERIFY DATABASE")
        refused = self.server.exec(
            f"{VERIFY} FROM {disks(self.medium('password.bak'))} WITH SAMPLE = 10 PERCENT")
        self.assertIn(3279, refused.numbers)
        absent = self.server.exec(
            f"{VERIFY} FROM {disks(self.medium('version17.bak'))} WITH SAMPLE = 10 PERCENT, FILE = 3")
        self.assertIn(3287, absent.numbers)
        self.assertEqual(self.server.backup_sets(), [])

    def test_damage_is_named_with_its_place(self) -> None:
        medium = self.medium("version10.bak")
        content = bytearray(medium.read_bytes())
        content[40000] ^= 4
        medium.write_bytes(content)
        self.assert_error(self.server.verify(medium), 65004, medium, "checksum",
                          terminated="VERIFY DATABASE")
        medium.write_bytes(bytes(content[:100000]))
        self.assert_error(self.server.verify(medium), 3256, medium, terminated="VERIFY DATABASE")

    def test_checksums_must_be_there_if_asked_for(self) -> None:
        self.check_verifies(self.medium("version10.bak"), options="CHECKSUM")
        outcome = self.server.exec(
            f"{VERIFY} FROM {disks(self.medium('version9.bak'))} WITH CHECKSUM")
        self.assert_error(outcome, 3187, terminated="VERIFY DATABASE")

    def test_password_opens_the_medium(self) -> None:
        medium = self.medium("password.bak")
        for query in ("LABELONLY", "HEADERONLY", "FILELISTONLY", "VERIFYONLY"):
            refused = self.server.exec(f"RESTORE {query} FROM {disks(medium)}")
            self.assertIn(3279, refused.numbers, query)
            wrong = self.server.exec(
                f"RESTORE {query} FROM {disks(medium)} WITH MEDIAPASSWORD = 'Secret'")
            self.assertIn(3279, wrong.numbers, query)
        (label,) = self.rows("LABELONLY", medium, "MEDIAPASSWORD = 'secret'")
        self.assertEqual(int(label["SoftwareVendorId"]), 4608)
        self.check_verifies(medium, options="MEDIAPASSWORD = 'secret'")

    def test_restore_and_backup_leave_the_medium_to_sql_server(self) -> None:
        self.server.next_database()
        for name in ("version13.bak", "version17.bak"):
            medium = self.medium(name)
            before = medium.read_bytes()
            target = self.server.db / "restored.db"
            outcome = self.server.restore("sales", medium,
                                          options=f"MOVE 'sales1' TO {quoted(target)}")
            self.assert_error(outcome, 65013, medium, terminated="RESTORE DATABASE")
            self.assertFalse(target.exists())
            self.assertEqual(self.server.backup("source", medium).numbers, [65009, 3013])
            self.assertEqual(medium.read_bytes(), before)

    @unittest.skipUnless(SAMPLES.is_dir(), "no media of SQL Server (CAPSTAN_SQLSERVER_SAMPLES)")
    def test_real_media(self) -> None:
        media = sorted(p for p in SAMPLES.rglob("*") if p.suffix.lower() in (".bak", ".trn"))
        self.assertTrue(media)
        families: dict[object, list[Path]] = {}
        for medium in media:
            options = "MEDIAPASSWORD = 'dbatools'" if medium.name == "passwd.bak" else ""
            (label,) = self.rows("LABELONLY", medium, options)
            families.setdefault(label["MediaSetId"], []).append(medium)
            headers = self.rows("HEADERONLY", medium, options)
            self.assertEqual(list(headers[0]), HEADER_COLUMNS)
            self.assertTrue(headers[0]["DatabaseName"])
            self.assertTrue(self.rows("FILELISTONLY", medium, options))
        for group in families.values():
            password = "MEDIAPASSWORD = 'dbatools'" if group[0].name == "passwd.bak" else ""
            options = f"LOADHISTORY, {password}" if password else "LOADHISTORY"
            self.check_verifies(*group, options=options)
            self.check_history(group[0], password)

    @unittest.skipUnless(SAMPLES.is_dir(), "no media of SQL Server (CAPSTAN_SQLSERVER_SAMPLES)")
    def test_backups_leave_real_media_as_they_are(self) -> None:
        self.server.next_database()
        media = sorted(p for p in SAMPLES.rglob("*") if p.suffix.lower() in (".bak", ".trn"))
        for sample in media:
            medium = self.medium("copy.bak")
            medium.unlink(missing_ok=True)
            medium.write_bytes(sample.read_bytes())
            for options in ("NOINIT", "INIT", "NOINIT, NOSKIP, CHECKSUM"):
                outcome = self.server.backup("source", medium, options=options)
                first = 3279 if sample.name == "passwd.bak" else 65009
                self.assertEqual(outcome.numbers, [first, 3013], (sample, options))
                self.assertTrue(medium.read_bytes() == sample.read_bytes(), (sample, options))


if __name__ == "__main__":
    main()
