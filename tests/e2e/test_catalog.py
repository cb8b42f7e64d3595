"""What the server remembers: history that media can give back, jobs, and options."""

from __future__ import annotations

import shutil
import time

from harness import ServerTestCase, content_of, main

TABLES = {"backupmediaset": "media_set_id",
          "backupmediafamily": "media_set_id, family_sequence_number, mirror",
          "backupset": "backup_set_id",
          "backupfile": "backup_set_id, file_number"}


class Rebuild(ServerTestCase):

    def history(self) -> dict[str, list[dict[str, object]]]:
        return {table: self.server.query(f"SELECT * FROM msdb.dbo.{table} ORDER BY {order}")
                for table, order in TABLES.items()}

    def backup_in_a_second_of_its_own(self, database: str, devices: str, options: str) -> None:
        """Media know whole seconds: sets of one second on different media have no order."""
        begin = int(time.time())
        while int(time.time()) == begin:
            time.sleep(0.01)
        self.assert_done(self.server.exec(f"BACKUP DATABASE {database} TO {devices} WITH {options}"))

    def lose_the_catalog(self) -> None:
        self.server.terminate()
        for path in self.server.data.glob("catalog.db*"):
            path.unlink()
        self.server.start()
        self.assertEqual(self.server.backup_sets(), [])

    def test_media_give_a_lost_history_back(self) -> None:
        """S0-51, S0-52"""
        media = self.server.media
        (media / "below").mkdir()
        self.server.next_database(name="sales")
        self.server.next_database(name="stock")
        self.backup_in_a_second_of_its_own(
            "sales", f"DISK = '{media}/a.bak'", "NAME = 'first', DESCRIPTION = 'the first one'")
        self.backup_in_a_second_of_its_own(
            "stock", f"DISK = '{media}/below/s1', DISK = '{media}/below/s2'",
            "FORMAT, MEDIANAME = 'two', COMPRESSION, CHECKSUM, RETAINDAYS = 1")
        self.backup_in_a_second_of_its_own("stock", f"DISK = '{media}/a.bak'", "COPY_ONLY")
        self.backup_in_a_second_of_its_own(
            "sales", f"DISK = '{media}/m1.bak' MIRROR TO DISK = '{media}/m2.bak'",
            "FORMAT, EXPIREDATE = '2020-01-01'")
        (media / "notes.bak").write_text("no medium, whatever it is called")
        before = self.history()

        self.lose_the_catalog()
        rebuilt = self.assert_done(self.server.run("catalog", "rebuild", media))

        self.assertEqual(self.history(), before)
        self.assertNotIn("notes.bak", rebuilt.stdout)
        self.assertIn("5 media, 0 of them not readable, gave the history 4 more backup sets.",
                      rebuilt.stdout)
        again = self.assert_done(self.server.run("catalog", "rebuild", media))
        self.assertIn("gave the history 0 more backup sets.", again.stdout)
        self.assertEqual(self.history(), before)
        copy = self.server.db / "copy.db"
        self.assert_done(self.server.run("restore", "copied", "--latest=stock", "--to", copy))
        self.assertEqual(content_of(copy), content_of(self.server.db / "stock.db"))

    def test_damage_is_said_and_stops_nothing(self) -> None:
        media = self.server.media
        self.server.next_database()
        self.assert_done(self.server.backup("source", media / "good.bak"))
        data = bytearray((media / "good.bak").read_bytes())
        data[4] ^= 0xFF
        (media / "bad.bak").write_bytes(data)
        self.lose_the_catalog()

        rebuilt = self.server.run("catalog", "rebuild", media)

        self.assertEqual(rebuilt.exit_code, 1, rebuilt.describe())
        self.assertRegex(rebuilt.stdout, r"bad\.bak +damaged ")
        self.assertRegex(rebuilt.stdout, r"good\.bak +loaded ")
        self.assertEqual(len(self.server.backup_sets()), 1)
        self.assert_error(self.server.run("catalog", "rebuild", r"F:\media"), 3201, "drive_map",
                          terminated=None)

    def test_verification_loads_history(self) -> None:
        media = self.server.media
        self.server.next_database()
        self.assert_done(self.server.backup("source", media / "a.bak"))
        self.lose_the_catalog()
        moved = media / "moved.bak"
        shutil.move(media / "a.bak", moved)

        self.assert_done(self.server.exec(
            f"RESTORE VERIFYONLY FROM DISK = '{moved}' WITH LOADHISTORY"))

        self.assertEqual(len(self.server.backup_sets()), 1)
        self.assertEqual(self.server.query(
            "SELECT physical_device_name FROM msdb.dbo.backupmediafamily"),
            [{"physical_device_name": str(moved)}])


class JobHistory(ServerTestCase):

    def jobs(self) -> list[dict[str, object]]:
        return self.server.query("SELECT * FROM msdb.dbo.backupjobhistory ORDER BY instance_id")

    def test_every_job_leaves_a_record(self) -> None:
        """S0-34"""
        self.server.next_database()
        medium = self.server.media / "a.bak"
        self.assert_done(self.server.backup("source", medium))
        self.assert_done(self.server.verify(medium))
        missing = self.server.media / "no" / "such.bak"
        self.assert_error(self.server.backup("source", missing), 3201)

        jobs = self.jobs()

        self.assertEqual([(j["command"], j["status"], j["percent_complete"]) for j in jobs],
                         [("BACKUP DATABASE", "Succeeded", 100),
                          ("VERIFY DATABASE", "Succeeded", 100), ("BACKUP DATABASE", "Failed", 0)])
        failed = jobs[2]
        self.assertEqual((failed["code"], failed["severity"], failed["source"]),
                         (3201, 16, "backup device"))
        self.assertIn(str(missing), str(failed["description"]))
        self.assertIn(str(missing.parent), str(failed["possible_reasons"]))
        self.assertIn("BACKUP DATABASE [source]", str(failed["query"]))
        for column in ("executed_as", "started", "progress_time", "ended", "source_guid"):
            self.assertIsNotNone(failed[column], column)
        self.assertEqual([row["run_status"] for row in self.server.query(
            "SELECT run_status FROM msdb.dbo.sysjobhistory ORDER BY instance_id")], [1, 1, 0])

    def test_a_documented_history_query_runs(self) -> None:
        """S0-52"""
        self.server.next_database()
        self.assert_done(self.server.backup("source", self.server.media / "a.bak"))
        rows = self.server.query("""
SELECT CONVERT(char(100), msdb.dbo.backupset.server_name) AS Server,
  msdb.dbo.backupset.database_name, msdb.dbo.backupset.backup_start_date,
  msdb.dbo.backupset.backup_finish_date, msdb.dbo.backupset.expiration_date,
  CASE msdb..backupset.type WHEN 'D' THEN 'Database' WHEN 'L' THEN 'Log' END AS backup_type,
  msdb.dbo.backupset.backup_size, msdb.dbo.backupmediafamily.logical_device_name,
  msdb.dbo.backupmediafamily.physical_device_name, msdb.dbo.backupset.name AS backupset_name
FROM msdb.dbo.backupmediafamily
INNER JOIN msdb.dbo.backupset
  ON msdb.dbo.backupmediafamily.media_set_id = msdb.dbo.backupset.media_set_id
WHERE (CONVERT(datetime, msdb.dbo.backupset.backup_start_date, 102) >= GETDATE() - 7)
ORDER BY msdb.dbo.backupset.database_name, msdb.dbo.backupset.backup_finish_date
""")
        self.assertEqual([(row["database_name"], row["backup_type"]) for row in rows],
                         [("source", "Database")])

    def test_a_job_that_dies_with_the_server_counts_as_failed(self) -> None:
        self.server.next_database()
        waiting = self.server.popen(
            "exec", "BACKUP DATABASE source TO VIRTUAL_DEVICE = 'nobody' WITH FORMAT")
        while not self.server.running_jobs():
            time.sleep(0.01)
        self.server.kill()
        waiting.communicate()
        self.server.start()
        self.assertEqual([(j["status"], j["source"]) for j in self.jobs()],
                         [("Failed", "capstand")])


JobHistory.settings = {"virtual_device_wait_s": 60}


class Options(ServerTestCase):

    def values(self, name: str) -> tuple[object, object]:
        row = self.server.query(f"EXEC sp_configure '{name}'")[0]
        return row["config_value"], row["run_value"]

    def test_options_survive_a_restart(self) -> None:
        """S3-10"""
        self.assert_done(self.server.exec("EXEC sp_configure 'media retention', 5"))
        self.assertEqual(self.values("media retention"), (5, 0))
        self.server.kill()
        self.server.start()
        self.assertEqual(self.values("media retention"), (5, 5))
        self.server.next_database()
        self.assert_done(self.server.backup("source", self.server.media / "a.bak"))
        rows = self.server.query("SELECT DATEDIFF(day, backup_start_date, expiration_date) AS days"
                                 " FROM msdb.dbo.backupset")
        self.assertEqual(rows, [{"days": 5}])

    def test_wrong_values_and_names_are_refused(self) -> None:
        self.assert_error(self.server.exec("EXEC sp_configure 'backup compression default', 2"),
                          15129, "'2' is not a valid value", terminated=None)
        self.assert_error(self.server.exec("EXEC sp_configure 'backup compression algorithm', 1"),
                          15129, "ZSTD", terminated=None)
        self.assert_error(self.server.exec("EXEC sp_configure 'nonsense', 1"), 15123,
                          terminated=None)

    def test_checksums_by_default_and_by_trace_flag(self) -> None:
        """S0-30"""
        self.server.next_database()

        def has_checksums() -> object:
            path = self.server.media / f"{time.monotonic_ns()}.bak"
            self.assert_done(self.server.backup("source", path))
            return self.server.query("SELECT TOP (1) has_backup_checksums FROM msdb.dbo.backupset"
                                     " ORDER BY backup_set_id DESC")[0]["has_backup_checksums"]

        self.assertFalse(has_checksums())
        self.assert_done(self.server.exec("DBCC TRACEON (3023, -1)"))
        self.assertTrue(has_checksums())
        self.assert_done(self.server.exec("DBCC TRACEOFF (3023)"))
        self.assertFalse(has_checksums())
        self.assert_done(self.server.exec(
            "EXEC sp_configure 'backup checksum default', 1 RECONFIGURE"))
        self.assertTrue(has_checksums())


if __name__ == "__main__":
    main()
