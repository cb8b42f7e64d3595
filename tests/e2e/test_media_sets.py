"""Media sets as an administrator of SQL Server knows them: appending, overwriting, compression.

The five examples are the statements of the article on compressed backups and existing media sets,
in its order and its words, with the outcomes that it states.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness import CapstanServer, Outcome, ServerTestCase, content_of, main
from places import Drives, Folder, ObjectStore, PlaceTestCase

TEXT_3098 = (
    "The backup cannot be performed because 'COMPRESSION' was requested after the media was "
    "formatted with an incompatible structure. To append to this media set, either omit "
    "'COMPRESSION' or specify 'NO_COMPRESSION'. Alternatively, you can create a new media set by "
    "using WITH FORMAT in your BACKUP statement. If you use WITH FORMAT on an existing media set, "
    "all its backup sets will be overwritten.")


class WithDrive(ServerTestCase):
    """A server whose E: is the folder of the media, and a database named test."""

    def setUp(self) -> None:
        self.server = CapstanServer(start=False)
        self.addCleanup(self._close)
        self.drive = self.server.media
        self.server.settings["drive_map"] = {"e:": str(self.drive),
                                             r"\\server\share": str(self.drive / "share")}
        self.server.start()
        self.server.next_database(name="test", size=160 * 8192)

    def headers(self, device: str) -> list[dict[str, object]]:
        return self.server.query(f"RESTORE HEADERONLY FROM {device}")


class Examples(PlaceTestCase):
    """The examples hold for every place. S3-28"""

    def setUp(self) -> None:
        super().setUp()
        self.disk, self.tape = self.place.clause(0), self.place.clause(1)

    def medium(self, device: str) -> bytes:
        return self.place.contents((self.disk, self.tape).index(device))

    def configured(self) -> dict[str, object]:
        rows = self.server.query("sp_configure 'backup compression default'")
        self.assertEqual([list(row) for row in rows],
                         [["name", "minimum", "maximum", "config_value", "run_value"]])
        return rows[0]

    def assert_refused(self, outcome: Outcome) -> None:
        """S3-29, S3-30."""
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertEqual([(m.number, m.severity, m.state, m.text) for m in outcome.messages],
                         [(3098, 16, 2, TEXT_3098),
                          (3013, 16, 1, "BACKUP DATABASE is terminating abnormally.")],
                         outcome.describe())

    def test_examples_in_order(self) -> None:
        self.example_1()
        self.example_2()
        self.example_3()
        self.place.load_foreign(1)
        self.example_4()
        self.example_5()

    def example_1(self) -> None:
        """S3-09, S3-11 to S3-15, S3-17 to S3-19, S3-29, S3-30"""
        self.assertEqual(self.configured()["run_value"], 0)
        made = self.assert_done(self.server.exec(f"""
BACKUP DATABASE test TO {self.disk}
WITH FORMAT, INIT,
NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10
GO
"""))
        self.assertIn("10 percent processed.\n", made.stdout)
        self.assertIn("100 percent processed.\n", made.stdout)
        self.assertRegex(made.stdout,
                         r"Processed \d+ pages for database 'test', file 'test' on file 1\.")
        self.assertRegex(made.stdout, r"BACKUP DATABASE successfully processed \d+ pages in "
                                      r"\d+\.\d{3} seconds \(\d+\.\d{3} MB/sec\)\.")
        self.assertEqual([bool(h["Compressed"])
                          for h in self.headers(self.disk)], [False])
        before = self.medium(self.disk)
        self.assert_refused(self.server.exec(f"""
-- The backup will fail as compressed and non compressed backups can't be mixed within the same media set
BACKUP DATABASE test TO {self.disk}
WITH NAME = N'testbackup-Full Database Backup', SKIP, NOREWIND, NOUNLOAD, COMPRESSION, STATS = 10
GO
"""))
        self.assertEqual(self.medium(self.disk), before)

    def example_2(self) -> None:
        """S3-10, S3-16, S3-18"""
        self.assert_done(self.server.exec("""
-- The option "backup compression default" as this point is set to 1.
sp_configure 'backup compression default', 1
GO
"""))
        self.assertEqual([self.configured()[c] for c in ("config_value", "run_value")], [1, 0])
        self.assert_done(self.server.exec("RECONFIGURE\nGO\n"))
        self.assertEqual([self.configured()[c] for c in ("config_value", "run_value")], [1, 1])
        made = self.assert_done(self.server.exec(f"""
BACKUP DATABASE test TO {self.disk}
WITH NAME = N'testbackup-Full Database Backup', SKIP, NOREWIND, NOUNLOAD, STATS = 10
GO
"""))
        self.assertRegex(made.stdout,
                         r"Processed \d+ pages for database 'test', file 'test' on file 2\.")
        headers = self.headers(self.disk)
        self.assertEqual([h["Position"] for h in headers], [1, 2])
        self.assertEqual([bool(h["Compressed"]) for h in headers], [False, False])

    def example_3(self) -> None:
        """S3-20 to S3-22"""
        label = f"RESTORE LABELONLY FROM {self.disk}"
        old = self.server.query(label)[0]["MediaSetId"]
        self.assert_done(self.server.exec(f"""
-- If you create a new media set by using the FORMAT option, the current compression setting is inherited
BACKUP DATABASE test TO {self.disk}
WITH FORMAT, INIT, NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10
GO
"""))
        formatted = self.server.query(label)[0]["MediaSetId"]
        self.assertNotEqual(formatted, old)
        self.assertEqual([bool(h["Compressed"]) for h in self.headers(self.disk)], [True])
        self.assert_done(self.server.exec("""
sp_configure 'backup compression default', 0
GO
RECONFIGURE
GO
"""))
        self.assert_done(self.server.exec(f"""
-- If you use the clause "WITH INIT", the backup sets are overwritten but the media header is not
BACKUP DATABASE test TO {self.disk}
WITH INIT, NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10
GO
"""))
        self.assertEqual([bool(h["Compressed"]) for h in self.headers(self.disk)], [True])
        self.assertEqual(self.server.query(label)[0]["MediaSetId"], formatted)

    def example_4(self) -> None:
        """S3-23, S3-24"""
        headers = self.headers(self.tape)
        self.assertEqual([bool(h["Compressed"]) for h in headers], [False])
        before = self.medium(self.tape)
        self.assert_refused(self.server.exec(f"""
BACKUP DATABASE test TO {self.tape}
WITH INIT, COMPRESSION,
NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10
GO
"""))
        self.assertEqual(self.medium(self.tape), before)

    def example_5(self) -> None:
        """S3-25, S3-26"""
        self.assert_done(self.server.exec(f"""
--The backups ( NT and non-compressed backup) can co-exist
BACKUP DATABASE test TO {self.tape}
WITH NAME = N'testbackup-Full Database Backup', SKIP, NOUNLOAD, STATS = 10
GO
"""))
        headers = self.headers(self.tape)
        self.assertEqual([h["Position"] for h in headers], [1, 2])
        self.assertEqual([bool(h["Compressed"]) for h in headers], [False, False])
        self.assertEqual(headers[1]["BackupName"], "testbackup-Full Database Backup")
        before = self.medium(self.tape)
        self.assert_refused(self.server.exec(f"""
BACKUP DATABASE test TO {self.tape}
WITH COMPRESSION,
NAME = N'testbackup1 Full Database Backup', SKIP, NOUNLOAD, STATS = 10
GO
"""))
        self.assertEqual(self.medium(self.tape), before)
        copy = self.server.db / "copy.db"
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE copied FROM {self.tape} WITH FILE = 2, MOVE 'test' TO '{copy}'"))
        self.assertEqual(content_of(copy), content_of(self.server.db / "test.db"))


class ExamplesOnDisk(Examples):
    place_type = Folder


class ExamplesOnTape(Examples):
    place_type = Drives


class ExamplesOnS3(Examples):
    place_type = ObjectStore


del Examples  # abstract: unittest would run it, too


class Statements(WithDrive):
    """Statements of SQL Server's documents with their Windows paths."""

    def test_windows_paths_restore_from_history(self) -> None:
        """S1-06"""
        self.assert_done(self.server.exec(r"""BACKUP DATABASE test TO
 DISK = 'E:\backups_FULL_01.bak',
 DISK = 'e:\backups_FULL_02.bak'
WITH BUFFERCOUNT = 10, MAXTRANSFERSIZE = 1048576"""))
        places = [str(row["physical_device_name"]) for row in self.server.query(
            "SELECT physical_device_name FROM msdb.dbo.backupmediafamily ORDER BY "
            "family_sequence_number")]
        self.assertEqual(places, [r"E:\backups_FULL_01.bak", r"e:\backups_FULL_02.bak"])
        self.assertTrue((self.drive / "backups_FULL_02.bak").is_file())
        copy = self.server.db / "copy.db"
        self.assert_done(self.server.run("restore", "copied", "--latest=test", "--to", copy))
        self.assertEqual(content_of(copy), content_of(self.server.db / "test.db"))

    def test_a_share_is_mapped_and_a_folder_made(self) -> None:
        """S0-35"""
        self.assert_done(self.server.exec(r"EXEC master.dbo.xp_create_subdir N'\\SERVER\share\a'"))
        self.assert_done(self.server.exec(
            r"BACKUP DATABASE test TO DISK = N'\\server\share\a\x.bak' WITH FORMAT"))
        self.assertTrue((self.drive / "share" / "a" / "x.bak").is_file())

    def test_a_drive_that_is_not_mapped_is_said(self) -> None:
        self.assert_error(
            self.server.exec(r"BACKUP DATABASE test TO DISK = N'F:\x.bak'"), 3201,
            r"Cannot open backup device 'F:\x.bak'. Operating system error "
            "3(The system cannot find the path specified.).", "drive_map")

    def test_spaceused_tells_what_a_backup_takes(self) -> None:
        """S0-55"""
        outcome = self.server.run("exec", "--json", "EXEC sp_spaceused @dbname = N'test'")
        self.assert_done(outcome)
        reserved = int(outcome.stdout.split('"reserved": "')[1].split(" KB")[0]) * 1024
        self.assert_done(self.server.exec(r"BACKUP DATABASE test TO DISK = N'E:\x.bak'"))
        size = self.server.query("SELECT backup_size FROM msdb.dbo.backupset")[0]["backup_size"]
        self.assertAlmostEqual(reserved / float(str(size)), 1.0, delta=0.1)

    def test_mirrors_are_verified_each(self) -> None:
        made = self.assert_done(self.server.run(
            "backup", "test", "--to", self.drive / "a.bak", "--mirror", self.drive / "b.bak",
            "--format", "--stats", "0"))
        self.assertEqual(made.stdout.count("The backup set on file 1 is valid."), 2, made.stdout)
        self.assertEqual((self.drive / "a.bak").read_bytes(), (self.drive / "b.bak").read_bytes())

    def test_the_latest_is_restored_from_the_mirrors_that_are_left(self) -> None:
        media = {name: self.drive / f"{name}.bak" for name in ("a1", "a2", "b1", "b2")}
        self.assert_done(self.server.run(
            "backup", "test", "--to", media["a1"], "--to", media["a2"], "--mirror", media["b1"],
            "--mirror", media["b2"], "--format", "--no-verify", "--max-transfer-size", "64K"))
        copy = self.server.db / "copy.db"
        media["a1"].unlink()
        damaged = bytearray(media["a2"].read_bytes())
        damaged[len(damaged) // 2] ^= 1
        media["a2"].write_bytes(damaged)

        made = self.assert_done(self.server.run("restore", "copied", "--latest=test", "--to", copy))

        for bad, good in (("a1", "b1"), ("a2", "b2")):
            self.assertRegex(made.stdout, f"'{media[bad]}' cannot be used: .*\n"
                                          f"Taking its mirror '{media[good]}'.\n")
        self.assertEqual([m.number for m in made.messages], [65004, 3013])
        self.assertEqual(content_of(copy), content_of(self.server.db / "test.db"))
        media["b2"].unlink()
        refused = self.server.run("restore", "copied", "--latest=test", "--to", copy, "--replace")
        self.assertEqual(refused.exit_code, 1, refused.describe())
        self.assertEqual(refused.numbers, [65004, 3013, 3201, 3013], refused.describe())
        self.assertEqual(content_of(copy), content_of(self.server.db / "test.db"))

    def test_certificates_encrypt_and_open(self) -> None:
        """S0-48"""
        self.assert_done(self.server.run("certificate", "add", "backups"))
        self.assert_done(self.server.run("backup", "test", "--to", self.drive / "c.bak",
                                         "--encrypt-certificate", "backups"))
        keys = [self.drive / "k.crt", self.drive / "k.key"]
        self.assert_done(self.server.run("certificate", "export", "backups", "--to", keys[0],
                                         "--key", keys[1]))
        self.assert_done(self.server.run("certificate", "remove", "backups"))
        copy = self.server.db / "copy.db"
        refused = self.server.run("restore", "copied", "--from", self.drive / "c.bak", "--to", copy)
        self.assert_error(refused, 33111, "certificate", terminated="RESTORE DATABASE")
        self.assertFalse(copy.exists())
        self.assert_done(self.server.run("certificate", "add", "again", "--from", keys[0],
                                         "--key", keys[1]))
        self.assert_done(self.server.run("restore", "copied", "--from", self.drive / "c.bak",
                                         "--to", copy))
        self.assertEqual(content_of(copy), content_of(self.server.db / "test.db"))


class Drawings(WithDrive):
    """capstan media show, of media as backups leave them and as accidents do."""

    def show(self, *arguments: object) -> Outcome:
        return self.server.run("media", "show", *arguments)

    def test_draws_what_is_on_a_medium(self) -> None:
        medium = self.drive / "m.bak"
        self.assert_done(self.server.run("backup", "test", "--to", medium, "--no-verify",
                                         "--compression=zstd", "--media-name", "Nightly"))
        self.assert_done(self.server.run("backup", "test", "--to", medium, "--no-verify"))
        drawn = self.assert_done(self.show(medium, "--blocks")).stdout
        self.assertRegex(drawn, rf'^{re.escape(str(medium))}  [\d.]+ .iB  "Nightly"  20')
        self.assertRegex(drawn, r"\n  \[=*A+B+\]\n  = header   A set 1   B set 2\n")
        self.assertRegex(drawn, r"\nA 1 test +full .* [\d.]+ complete, ZSTD\n")
        self.assertRegex(drawn, r" frames .* test, pages 0 to \d+\n")

        rows = json.loads(self.assert_done(self.show("--json", medium)).stdout)
        end = 0
        for row in rows:
            self.assertEqual(row["Offset"], end, row)
            end += row["Size"]
        self.assertEqual((end, rows[0]["MediumSize"]), (medium.stat().st_size,) * 2)
        frames = [row for row in rows if row["Kind"] == "frames"]
        self.assertEqual({row["Position"] for row in frames}, {1, 2})
        self.assertTrue(all(row["StoredBytes"] < row["PayloadBytes"] for row in frames), frames)

    def test_tells_damage_and_what_is_no_medium(self) -> None:
        medium, text = self.drive / "m.bak", self.drive / "text"
        self.assert_done(self.server.backup("test", medium))
        sound = medium.read_bytes()
        text.write_bytes(b"not a medium" * 100)

        medium.write_bytes(sound + b"?" * 8192)
        outcome = self.show(medium, text)
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertIn(f"\ndamage, at byte {len(sound)}, 8.0 KiB: what stands here is not known\n"
                      "HINT: ", outcome.stdout)
        self.assertEqual(outcome.numbers, [3242, 3013], outcome.describe())
        self.assertIn("RESTORE MEDIAMAP is terminating abnormally.", outcome.stderr)

        medium.write_bytes(sound[:-40000])
        outcome = self.show(medium)
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertRegex(outcome.stdout, r"\nunfinished set, set 1, at byte 8192, .* frames\nHINT: ")


class Memory(WithDrive):
    """What coding takes is the job's, not the server's for ever."""

    GROWTH_MAX_KIB = 8 << 10  # the first job of each kind leaves some

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        match = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
        assert match is not None, status
        return int(match.group(1))

    def test_coded_jobs_leave_no_memory_behind(self) -> None:
        medium, copy = self.drive / "m.bak", self.server.db / "copy.db"
        self.server.next_database(name="large", size=8 << 20)
        before = self.resident_kib()
        for _ in range(4):
            self.assert_done(self.server.backup(
                "large", medium, options="FORMAT, COMPRESSION (ALGORITHM = ZSTD, LEVEL = HIGH)"))
            self.assert_done(self.server.exec(
                f"RESTORE DATABASE copy FROM DISK = '{medium}'"
                f" WITH REPLACE, MOVE 'large' TO '{copy}'"))
        self.assertLess(self.resident_kib() - before, self.GROWTH_MAX_KIB)


if __name__ == "__main__":
    main()
