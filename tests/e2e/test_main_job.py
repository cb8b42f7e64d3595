"""What the product is for: live databases go to media and come back whole."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import unittest
from contextlib import closing
from pathlib import Path

from harness import (MTF_EXTRACT, CapstanServer, ServerTestCase, check_prefix,
                     committing, content_of, disks, main, make_database, quoted)

PROJ = Path("/usr/share/proj/proj.db")

# S0-01: pages of 8 KiB, seconds and MB/sec with three decimals.
COMPLETION = re.compile(r"^(BACKUP|RESTORE) DATABASE successfully processed (\d+) pages in "
                        r"(\d+\.\d{3}) seconds \((\d+\.\d{3}) MB/sec\)\.$", re.MULTILINE)

# Documentation of the three statements, version 2022.
HEADER_COLUMNS = """
    BackupName BackupDescription BackupType ExpirationDate Compressed Position DeviceType UserName
    ServerName DatabaseName DatabaseVersion DatabaseCreationDate BackupSize FirstLSN LastLSN
    CheckpointLSN DatabaseBackupLSN BackupStartDate BackupFinishDate SortOrder CodePage
    UnicodeLocaleId UnicodeComparisonStyle CompatibilityLevel SoftwareVendorId SoftwareVersionMajor
    SoftwareVersionMinor SoftwareVersionBuild MachineName Flags BindingID RecoveryForkID Collation
    FamilyGUID HasBulkLoggedData IsSnapshot IsReadOnly IsSingleUser HasBackupChecksums IsDamaged
    BeginsLogChain HasIncompleteMetaData IsForceOffline IsCopyOnly FirstRecoveryForkID ForkPointLSN
    RecoveryModel DifferentialBaseLSN DifferentialBaseGUID BackupTypeDescription BackupSetGUID
    CompressedBackupSize Containment KeyAlgorithm EncryptorThumbprint EncryptorType
    LastValidRestoreTime TimeZone CompressionAlgorithm""".split()
LABEL_COLUMNS = """
    MediaName MediaSetId FamilyCount FamilySequenceNumber MediaFamilyId MediaSequenceNumber
    MediaLabelPresent MediaDescription SoftwareName SoftwareVendorId MediaDate Mirror_Count
    IsCompressed""".split()
FILE_COLUMNS = """
    LogicalName PhysicalName Type FileGroupName Size MaxSize FileId CreateLSN DropLSN UniqueId
    ReadOnlyLSN ReadWriteLSN BackupSizeInBytes SourceBlockSize FileGroupId LogGroupGUID
    DifferentialBaseLSN DifferentialBaseGUID IsReadOnly IsPresent TDEThumbprint SnapshotUrl
    """.split()


def extract(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The reader of media that shares no code with the server."""
    return subprocess.run([sys.executable, "-B", str(MTF_EXTRACT), *map(str, arguments)],
                          capture_output=True, text=True, timeout=120, check=False)


def live_copy(path: Path, journal_mode: str) -> None:
    """A database with real contents for a writer to write to."""
    if PROJ.exists():
        shutil.copyfile(PROJ, path)
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA journal_mode = {journal_mode}")
    else:
        make_database(path, 8 << 20, journal_mode=journal_mode)


class LiveDatabase(ServerTestCase):
    """Backups while a writer commits: each is one state that the database had in that time."""

    def back_up_and_restore(self, name: str, source: Path, devices: int, journal_mode: str) -> None:
        media = [self.server.media / f"{name}-{i}.bak" for i in range(devices)]
        with committing(source, journal_mode) as writer:
            before = writer.committed()
            outcome = self.assert_done(self.server.backup(name, *media))
            after = writer.committed()
            self.assertRegex(outcome.stdout, COMPLETION)
            # It must have been a live database, or the test shows nothing.
            deadline = time.monotonic() + 30
            while writer.committed() == after and time.monotonic() < deadline:
                time.sleep(0.01)
            self.assertGreater(writer.committed(), before)
        self.assert_done(self.server.verify(*media))
        copy = self.server.db / f"{name} restored.db"
        self.assert_done(self.server.restore(
            f"{name}_restored", *media, options=f"MOVE {quoted(name)} TO {quoted(copy)}"))
        rows = check_prefix(copy)
        self.assertLessEqual(before, rows)
        self.assertLessEqual(rows, after)
        for family in media:
            sound = extract(family, "--verify")
            self.assertEqual(sound.returncode, 0, sound.stderr)

    def test_wal_to_one_two_and_five_devices(self) -> None:
        """S1-04, S1-06, S2-01: as many media families as devices."""
        for devices in (1, 2, 5):
            with self.subTest(devices=devices):
                source = self.server.db / f"live{devices}.db"
                live_copy(source, "wal")
                self.server.attach(f"live{devices}", source)
                self.back_up_and_restore(f"live{devices}", source, devices, "wal")

    def test_rollback_journal(self) -> None:
        source = self.server.db / "rollback.db"
        live_copy(source, "delete")
        self.server.attach("rollback", source)
        self.back_up_and_restore("rollback", source, 2, "delete")
        (header,) = self.server.query(
            f"RESTORE HEADERONLY FROM {disks(self.server.media / 'rollback-0.bak')}")
        self.assertEqual(header["RecoveryModel"], "SIMPLE")

    def test_many_backups_in_a_row_under_fire(self) -> None:
        """Every state is good, not only the lucky one; REPLACE takes the place of the last."""
        source = self.server.db / "fire.db"
        make_database(source, 1 << 20)
        self.server.attach("fire", source)
        medium, copy = self.server.media / "fire.bak", self.server.db / "fire-copy.db"
        rows = 0
        with committing(source, "wal"):
            for turn in range(8):
                self.assert_done(self.server.backup("fire", medium, options="FORMAT"))
                self.assert_done(self.server.restore(
                    "fire_copy", medium, options=f"MOVE 'fire' TO {quoted(copy)}, REPLACE"))
                restored = check_prefix(copy)
                self.assertGreaterEqual(restored, rows, f"turn {turn} went back in time")
                rows = restored


class Copies(ServerTestCase):
    """Databases at rest come back byte for byte, whatever they look like, but for free pages."""

    def round_trip(self, name: str, source: Path, devices: int = 1) -> Path:
        media = [self.server.media / f"{time.monotonic_ns()}-{i}.bak" for i in range(devices)]
        self.assert_done(self.server.backup(name, *media))
        copy = self.server.db / f"{time.monotonic_ns()}.db"
        self.assert_done(self.server.restore(
            f"{name} copy", *media, options=f"MOVE {quoted(name)} TO {quoted(copy)}"))
        self.assertEqual(copy.read_bytes(), source.read_bytes())
        return copy

    def test_page_sizes(self) -> None:
        for page_size in (512, 1024, 4096, 65536):
            for journal_mode in ("wal", "delete"):
                with self.subTest(page_size=page_size, journal_mode=journal_mode):
                    name = f"pages_{page_size}_{journal_mode}"
                    source = self.server.db / f"{name}.db"
                    make_database(source, 1 << 20, page_size, journal_mode)
                    self.server.attach(name, source)
                    self.round_trip(name, source)

    def test_smallest_database(self) -> None:
        source = self.server.db / "tiny.db"
        with closing(sqlite3.connect(source)) as db:
            db.execute("CREATE TABLE t (a)")
        self.server.attach("tiny", source)
        self.round_trip("tiny", source, devices=3)

    def test_wal_contents_that_are_not_in_the_file_yet(self) -> None:
        source = self.server.db / "pending.db"
        make_database(source, 1 << 20)
        self.server.attach("pending", source)
        with closing(sqlite3.connect(source, isolation_level=None)) as db:
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("INSERT INTO item (name) VALUES ('only in the WAL')")
            self.assertGreater((self.server.db / "pending.db-wal").stat().st_size, 0)
            medium, copy = self.server.media / "pending.bak", self.server.db / "pending-copy.db"
            self.assert_done(self.server.backup("pending", medium))
            self.assert_done(self.server.restore(
                "pending_copy", medium, options=f"MOVE 'pending' TO {quoted(copy)}"))
            self.assertEqual(content_of(copy), content_of(source))

    def test_names(self) -> None:
        """Spaces, quotes, brackets and all of Unicode; S0-44: names that differ in case only."""
        contents: dict[str, bytes] = {}
        for name in ("two words", "it's", "[bracketed]", 'double "quoted"', "Ünïcödé 数据库 🗄",
                     "Ab", "AB", "semi;colon--", "100%{}"):
            with self.subTest(name=name):
                source = self.server.db / f"{name}.db"
                make_database(source, 100_000)
                self.server.attach(name, source)
                medium = self.server.media / f"{name}.bak"
                self.assert_done(self.server.backup(name, medium))
                contents[name] = source.read_bytes()
        for name, content in contents.items():
            with self.subTest(restored=name):
                medium = self.server.media / f"{name}.bak"
                (header,) = self.server.query(f"RESTORE HEADERONLY FROM {disks(medium)}")
                self.assertEqual(header["DatabaseName"], name)
                copy = self.server.db / f"{name} copy.db"
                self.assert_done(self.server.restore(
                    f"{name} copy", medium, options=f"MOVE {quoted(name)} TO {quoted(copy)}"))
                self.assertEqual(copy.read_bytes(), content)
        names = {row["name"] for row in self.server.query("SELECT name FROM sys.databases")}
        self.assertLessEqual({"Ab", "AB", "it's", "it's copy"}, names)

    def test_replace_overwrites_what_is_there(self) -> None:
        """S4-34's rule for streamed sets."""
        source = self.server.next_database()
        medium = self.server.media / "a.bak"
        self.assert_done(self.server.backup("source", medium))
        before = source.read_bytes()
        with closing(sqlite3.connect(source, isolation_level=None)) as db:
            db.execute("DELETE FROM item")
        os.chmod(source, 0o604)
        self.assert_done(self.server.restore("source", medium, options="REPLACE"))
        self.assertEqual(source.read_bytes(), before)
        self.assertEqual(source.stat().st_mode & 0o777, 0o604, "mode of the replaced database")

    def test_deleted_pages_are_not_in_it(self) -> None:
        """S1-30: neither in a full backup nor in a differential one."""
        source = self.server.next_database(size=1 << 20)
        media = [self.server.media / name for name in ("full.bak", "differential.bak")]
        for number, medium in enumerate(media):
            row = f"deleted row {number}".encode()
            with closing(sqlite3.connect(source, isolation_level=None)) as db:
                db.execute("PRAGMA secure_delete = OFF")  # some builds of SQLite have it on
                db.execute("CREATE TABLE gone (body TEXT)")
                db.execute("BEGIN")
                db.executemany("INSERT INTO gone VALUES (?)", [(row.decode() * 20,)] * 3000)
                db.execute("COMMIT")
                db.execute("DROP TABLE gone")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self.assertIn(row, source.read_bytes())
            self.assert_done(self.server.backup(
                "source", medium, options="FORMAT" + (", DIFFERENTIAL" if number else "")))
            self.assertNotIn(row, medium.read_bytes())
        before = content_of(source)
        self.assert_done(self.server.verify(media[0]))
        for medium, options in zip(media, ("REPLACE, NORECOVERY", "RECOVERY")):
            self.assert_done(self.server.restore("source", medium, options=options))
        self.assertEqual(content_of(source), before)

    def test_null_device(self) -> None:
        """DISK='/dev/null' takes everything and keeps nothing."""
        self.server.next_database(size=4 << 20)
        outcome = self.assert_done(self.server.backup("source", "/dev/null"))
        self.assertRegex(outcome.stdout, COMPLETION)
        self.assertTrue(Path("/dev/null").is_char_device())
        self.assert_done(self.server.backup("source", "/dev/null", "/dev/null"))


class Media(ServerTestCase):
    """What media and history say, and that others can read it."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=3 << 20)
        self.media = [self.server.media / "one.bak", self.server.media / "two.bak"]
        self.backup = self.assert_done(self.server.backup(
            "source", *self.media, options="FORMAT, NAME = 'nightly', DESCRIPTION = N'über alles',"
            " MEDIANAME = 'shelf 7', MEDIADESCRIPTION = 'left', COPY_ONLY, CHECKSUM, STATS = 10"))

    def rows(self, statement: str, path: Path) -> list[dict[str, object]]:
        return self.server.query(f"RESTORE {statement} FROM {disks(path)}")

    def test_headeronly(self) -> None:
        """S0-28, S3-11, S3-18: all columns, and what they say."""
        for path in self.media:
            (header,) = self.rows("HEADERONLY", path)
            self.assertEqual(list(header), HEADER_COLUMNS)
            expected = {"BackupName": "nightly", "BackupDescription": "über alles",
                        "BackupType": 1, "Compressed": False, "Position": 1, "DeviceType": 2,
                        "DatabaseName": "source", "IsCopyOnly": True, "HasBackupChecksums": True,
                        "RecoveryModel": "FULL", "BackupTypeDescription": "Database",
                        "IsSnapshot": False}
            self.assertEqual({key: header[key] for key in expected}, expected)
            # What was written, with the overhead of the frames and no more.
            size = int(str(header["BackupSize"]))
            self.assertGreaterEqual(size, self.source.stat().st_size)
            self.assertLess(size, self.source.stat().st_size + (2 << 20))

    def test_labelonly(self) -> None:
        """S4-27: the media's texts come back as they were given."""
        labels = [self.rows("LABELONLY", path)[0] for path in self.media]
        for number, label in enumerate(labels, 1):
            self.assertEqual(list(label), LABEL_COLUMNS)
            self.assertEqual((label["MediaName"], label["MediaDescription"]), ("shelf 7", "left"))
            self.assertEqual((label["FamilyCount"], label["FamilySequenceNumber"]), (2, number))
        self.assertEqual(labels[0]["MediaSetId"], labels[1]["MediaSetId"])
        self.assertNotEqual(labels[0]["MediaFamilyId"], labels[1]["MediaFamilyId"])

    def test_filelistonly(self) -> None:
        (file,) = self.rows("FILELISTONLY", self.media[0])
        self.assertEqual(list(file), FILE_COLUMNS)
        self.assertEqual((file["LogicalName"], file["PhysicalName"], file["Type"]),
                         ("source", str(self.source), "D"))
        self.assertEqual(int(str(file["Size"])), self.source.stat().st_size)

    def test_messages(self) -> None:
        """S0-01, S3-15, S3-17, S3-19: pages per file, percentages, completion; S1-09 to the log."""
        pages = -(-self.source.stat().st_size // 8192)
        self.assertIn(f"Processed {pages} pages for database 'source', file 'source' on file 1.",
                      self.backup.stdout)
        percent = [int(n) for n in re.findall(r"^(\d+) percent processed\.$", self.backup.stdout,
                                              re.MULTILINE)]
        self.assertEqual(percent, sorted(set(percent)))
        self.assertTrue(set(percent) <= set(range(10, 101, 10)), percent)
        completion = COMPLETION.search(self.backup.stdout)
        assert completion is not None
        self.assertEqual(int(completion[2]), pages)
        seconds, rate = float(completion[3]), float(completion[4])
        # Both are truncated: the rate fits some time within that millisecond.
        megabytes = pages * 8192 / (1 << 20)
        self.assertGreaterEqual(rate + 0.001, megabytes / (seconds + 0.001))
        self.assertLessEqual(rate, megabytes / max(seconds, 0.001) + 0.001)
        self.assertIn(completion[0], self.server.errorlog.read_text(encoding="utf-8"))

    def test_history(self) -> None:
        """S1-34, S4-44 to the letter, S0-52: the queries of the documentation."""
        self.assertEqual(self.server.query(
            "SELECT database_name, type, backup_size, backup_start_date, backup_finish_date,"
            " is_snapshot FROM msdb.dbo.backupset WHERE is_snapshot = 1"), [])
        (row,) = self.server.query(
            "SELECT database_name, type, backup_size, backup_start_date, backup_finish_date,"
            " is_snapshot FROM msdb.dbo.backupset WHERE is_snapshot = 0")
        self.assertEqual((row["database_name"], row["type"]), ("source", "D"))
        rows = self.server.query("""
            SELECT TOP 10 bs.database_name,
                   CASE bs.type WHEN 'D' THEN 'Full' WHEN 'I' THEN 'Differential'
                                WHEN 'L' THEN 'Log' END AS backup_type,
                   DATEDIFF(second, bs.backup_start_date, bs.backup_finish_date) AS seconds,
                   bmf.physical_device_name, bmf.family_sequence_number
            FROM msdb.dbo.backupset bs
            INNER JOIN msdb.dbo.backupmediafamily bmf ON bs.media_set_id = bmf.media_set_id
            WHERE bs.database_name = N'source'
            ORDER BY bs.backup_finish_date DESC, bmf.family_sequence_number""")
        self.assertEqual([row["physical_device_name"] for row in rows], [str(p) for p in self.media])
        self.assertEqual({row["backup_type"] for row in rows}, {"Full"})
        (media,) = self.server.query(
            "SELECT name, description FROM msdb.dbo.backupmediaset")  # S4-28
        self.assertEqual(media, {"name": "shelf 7", "description": "left"})
        copy = self.server.db / "copy.db"
        self.assert_done(self.server.restore(
            "copy", *self.media, options=f"MOVE 'source' TO {quoted(copy)}"))
        (restored,) = self.server.query("""
            SELECT rh.destination_database_name, rh.restore_type, bs.name
            FROM msdb.dbo.restorehistory rh
            JOIN msdb.dbo.backupset bs ON bs.backup_set_id = rh.backup_set_id""")
        self.assertEqual(restored, {"destination_database_name": "copy", "restore_type": "D",
                                    "name": "nightly"})
        history = self.server.run("history", "source")
        self.assertEqual(history.exit_code, 0, history.describe())
        for part in ("source", "Full", str(self.media[0]), str(self.media[1])):
            self.assertIn(part, history.stdout)

    def test_concatenated_frames_are_the_database(self) -> None:
        """Nobody's backups are hostage: any MTF reader, and then dd, get the database out."""
        out = self.server.root / "extracted.db"
        result = extract(*self.media, "--concatenate", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        copy = self.server.db / "copy.db"
        self.assert_done(self.server.restore(
            "copy", *self.media, options=f"MOVE 'source' TO {quoted(copy)}"))
        self.assertEqual(out.read_bytes(), copy.read_bytes())
        self.assertEqual(out.read_bytes(), self.source.read_bytes())

    def test_history_survives_a_restart(self) -> None:
        before = self.server.backup_sets()
        self.assertEqual(self.server.terminate(), 0)
        self.server.start()
        self.assertEqual(self.server.backup_sets(), before)
        self.assert_works()

    def test_writers_and_agents(self) -> None:
        """S0-42, S0-43: the list looks as vssadmin prints it, and the writer is stable again."""
        outcome = self.server.run("list", "writers")
        self.assertEqual(outcome.exit_code, 0, outcome.describe())
        guid = r"\{[0-9A-Fa-f-]{36}\}"
        self.assertRegex(outcome.stdout, re.compile(
            rf"^Writer name: '.*'\n   Writer Id: {guid}\n   Writer Instance Id: {guid}\n"
            r"   State: \[1\] Stable\n   Last error: No error$", re.MULTILINE))
        status = self.server.run("status")
        self.assertEqual(status.exit_code, 0, status.describe())
        for part in ("(reachable)", "disk", "source"):
            self.assertIn(part, status.stdout)


class ErrorLogLines(ServerTestCase):
    """S1-14..S1-22: what trace flags 3605 and 3213 write, and that nothing else does."""

    def lines(self) -> list[str]:
        return self.server.errorlog.read_text(encoding="utf-8").splitlines()

    def parameters(self) -> list[str]:
        return [line for line in self.lines()
                if re.search(r"BufferPoolLimit|[Bb]uffer|transfer size|Memory Limit", line)]

    def must(self, statement: str) -> None:
        self.assert_done(self.server.exec(statement))

    def back_up(self) -> None:
        self.assert_done(self.server.backup(
            "source", self.server.media / "1.bak", self.server.media / "2.bak",
            options="FORMAT, BUFFERCOUNT = 10, MAXTRANSFERSIZE = 1048576"))

    def test_buffer_configuration(self) -> None:
        self.server.next_database()
        for flags in ("", "DBCC TRACEON (3605, -1)", "DBCC TRACEOFF (3605, -1)",
                      "DBCC TRACEON (3213, -1)"):
            if flags:
                self.must(flags)
            self.back_up()
            self.assertEqual(self.parameters(), [], f"after {flags or 'no flag'}")
        self.must("DBCC TRACEON (3605, 3213, -1)")
        self.back_up()
        lines = self.parameters()
        for line in lines:  # S1-15
            self.assertRegex(line, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d spid\d+ +\S")
        texts = [re.sub(r"^\S+ \S+ spid\d+ +", "", line) for line in lines]
        self.assertRegex(texts[0], r"^BufferPoolLimit: {10}\d+ MB$")  # S1-16
        self.assertEqual(texts[1], "Backup/Restore buffer configuration parameters")
        limit = texts[0].split()[1]
        self.assertEqual(sorted(texts[2:]), sorted([
            f"Memory Limit:             {limit} MB",  # S1-22
            "Buffer count:             10",           # S1-17
            "Max transfer size:        1048576",      # S1-18
            "Total buffer space:       10 MB",        # S1-19
            "Buffers per read stream:  10",           # S1-20
            "Buffers per write stream: 5"]))          # S1-21
        self.must("DBCC TRACEOFF (3605, 3213, -1)")
        self.back_up()
        self.assertEqual(self.parameters(), lines)


@unittest.skipUnless(os.geteuid() == 0, "needs root to run the server under another account")
class ServiceAccount(unittest.TestCase):
    """S0-36: media belong to the service account, whoever sent the statement."""

    NOBODY = 65534

    def test_owner_of_media_and_databases(self) -> None:
        server = CapstanServer(user=self.NOBODY)
        self.addCleanup(server.close, self)
        server.next_database()
        medium, copy = server.media / "a.bak", server.db / "copy.db"
        self.assertEqual(server.backup("source", medium).exit_code, 0)
        self.assertEqual(server.restore(
            "copy", medium, options=f"MOVE 'source' TO {quoted(copy)}").exit_code, 0)
        for path in (medium, copy):
            self.assertEqual((path.stat().st_uid, path.stat().st_mode & 0o007),
                             (self.NOBODY, 0), path)


if __name__ == "__main__":
    main()
