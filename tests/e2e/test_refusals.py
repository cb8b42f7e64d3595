"""Statements that cannot be carried out: a clear error at once, and nothing touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import unittest
from contextlib import closing
from pathlib import Path

from harness import CapstanServer, Outcome, ServerTestCase, disks, main, make_database, quoted


class Statements(ServerTestCase):
    """Refused before any device is touched."""

    def setUp(self) -> None:
        super().setUp()
        self.server.next_database()
        self.medium = self.server.media / "a.bak"

    def assert_untouched(self) -> None:
        self.assertEqual(list(self.server.media.iterdir()), [])
        self.assertEqual(self.server.backup_sets(), [])

    def test_syntax_errors_name_the_line(self) -> None:
        for number, line, statement in (
                (102, 2, "BACKUP DATABASE source\nTOO DISK = 'x'"),
                (102, 1, "BACKUP DATABASE"),
                (156, 1, "BACKUP DATABASE source FROM DISK = 'x'"),
                (105, 3, "BACKUP DATABASE source\nTO\nDISK = 'x"),
                (155, 1, f"BACKUP DATABASE source TO {disks(self.medium)} WITH COLOUR"),
                (102, 2, f"BACKUP DATABASE source TO {disks(self.medium)};\nNONSENSE")):
            with self.subTest(statement=statement):
                message = self.assert_error(self.server.exec(statement), number, terminated=None)
                self.assertEqual((message.severity, message.line), (15, line))
                self.assert_untouched()
        self.assert_works()

    def test_unknown_database(self) -> None:
        self.assert_error(self.server.backup("nowhere", self.medium), 911, "'nowhere'")
        self.assert_untouched()
        self.assert_works()

    def test_65th_device(self) -> None:
        """S1-59."""
        paths = [self.server.media / f"{i}.bak" for i in range(65)]
        outcome = self.server.backup("source", *paths)
        self.assertIn(3205, outcome.numbers, outcome.describe())
        self.assertIn("only 64 are allowed", outcome.stderr)
        self.assert_untouched()
        self.assert_works()

    def test_64_devices_are_allowed(self) -> None:
        paths = [self.server.media / f"{i}.bak" for i in range(64)]
        self.assert_done(self.server.backup("source", *paths))
        self.assert_done(self.server.verify(*paths))

    def test_buffers_beyond_the_limit(self) -> None:
        """S1-12, S1-13: 701, then 3013, and no device is touched."""
        outcome = self.server.backup("source", self.medium,
                                     options="BUFFERCOUNT = 100000, MAXTRANSFERSIZE = 4194304")
        self.assertEqual(outcome.exit_code, 1)
        self.assertEqual([(m.number, m.severity, m.state, m.text) for m in outcome.messages], [
            (701, 17, 1, "There is insufficient system memory to run this query."),
            (3013, 16, 1, "BACKUP DATABASE is terminating abnormally.")], outcome.describe())
        self.assertIn("BUFFERCOUNT", outcome.messages[0].hint)
        self.assertNotIn("device set begin", self.server.log_tail())
        self.assert_untouched()
        self.assert_works()

    def test_values_out_of_range(self) -> None:
        for options in ("BUFFERCOUNT = 0", "MAXTRANSFERSIZE = 1000", "MAXTRANSFERSIZE = 4259840",
                        "BLOCKSIZE = 1000", "STATS = 101"):
            with self.subTest(options=options):
                outcome = self.server.backup("source", self.medium, options=options)
                self.assertEqual(outcome.exit_code, 1, outcome.describe())
                self.assertTrue(outcome.messages[0].text, outcome.describe())
                self.assertEqual(outcome.numbers[1:], [3013], outcome.describe())
                self.assert_untouched()
        self.assert_works()

    def test_log_backup_of_a_simple_database(self) -> None:
        """S0-58, as far as log backups exist: refused, and never taken for a full one."""
        outcome = self.server.exec(f"BACKUP LOG source TO {disks(self.medium)}")
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertTrue(outcome.messages, outcome.describe())
        self.assert_untouched()

    def test_kill_of_nothing(self) -> None:
        self.assert_error(self.server.exec("KILL 9999"), 6106, "9999", terminated=None)


class Targets(ServerTestCase):
    """Media that cannot be written."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database()

    def test_missing_directory(self) -> None:
        path = self.server.media / "missing" / "a.bak"
        self.assert_error(self.server.backup("source", path), 3201,
                          f"'{path}'", "2(No such file or directory)")
        self.assertEqual(self.server.journal(), [], "nothing was begun, nothing is to be settled")
        self.assert_works()

    def test_missing_directory_of_the_second_stripe(self) -> None:
        good, path = self.server.media / "a.bak", self.server.media / "missing" / "b.bak"
        self.assert_error(self.server.backup("source", good, path), 3201,
                          f"'{path}'", "2(No such file or directory)")
        self.assertFalse(good.exists())
        self.assertEqual(self.server.journal(), [])
        self.assert_works()

    def test_places_that_are_no_files(self) -> None:
        for path in (str(self.server.media), "relative.bak", str(self.server.socket)):
            with self.subTest(path=path):
                self.assert_error(self.server.backup("source", path, options="FORMAT"), 3201, path)
                self.assertEqual(self.server.journal(), [])
        self.assertTrue(self.server.socket.is_socket())
        self.assert_works()

    def test_one_medium_twice(self) -> None:
        path = self.server.media / "a.bak"
        for statement in (f"TO {disks(path, path)}",
                          f"TO {disks(path)} MIRROR TO {disks(path)} WITH FORMAT"):
            with self.subTest(statement=statement):
                self.assert_error(self.server.exec(f"BACKUP DATABASE source {statement}"), 3201,
                                  f"'{path}'", "the statement names it more than once")
                self.assertFalse(path.exists())
        self.assert_works()

    def test_existing_file_that_is_no_medium(self) -> None:
        path = self.server.media / "a.bak"
        path.write_bytes(b"letters to the editor\n" * 1000)
        before = path.read_bytes()
        for options in ("", "INIT", "INIT, SKIP"):
            with self.subTest(options=options):
                self.assert_error(self.server.backup("source", path, options=options), 3242,
                                  f"'{path}'")
                self.assertEqual(path.read_bytes(), before)
        self.assert_works()

    def test_one_file_as_two_stripes(self) -> None:
        path = self.server.media / "a.bak"
        outcome = self.server.backup("source", path, path)
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertIn(str(path), outcome.stderr)
        self.assertFalse(path.exists())
        self.assertEqual(self.server.backup_sets(), [])
        self.assert_works()

    def test_database_that_is_gone(self) -> None:
        self.source.unlink()
        outcome = self.server.backup("source", self.server.media / "a.bak")
        self.assert_error(outcome, 65005, str(self.source),
                          "2(No such file or directory)")
        self.assertEqual(list(self.server.media.iterdir()), [])
        make_database(self.source, 1 << 20)
        self.assert_works()

    def test_file_that_is_no_database(self) -> None:
        path = self.server.db / "text.db"
        path.write_text("no database\n" * 1000, encoding="utf-8")
        outcome = self.server.run("database", "add", "text", f"sqlite:{path}")
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertIn(str(path), outcome.stderr)
        self.assert_works()

    def test_database_that_is_locked(self) -> None:
        """S1-56: the wait for a lock has a deadline, 3 s here, and names what it waited for."""
        path = self.server.db / "locked.db"
        make_database(path, 1 << 20, journal_mode="delete")
        self.server.attach("locked", path)
        medium = self.server.media / "a.bak"
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            outcome = self.server.backup("locked", medium)
            db.execute("ROLLBACK")
        self.assert_error(outcome, 65005, str(path), "locked")
        self.assertLess(outcome.seconds, 15)
        self.assertFalse(medium.exists())
        self.assert_works("locked")

    def test_virtual_device_that_nobody_created(self) -> None:
        outcome = self.server.exec("BACKUP DATABASE source TO VIRTUAL_DEVICE = 'nobody'")
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertEqual(outcome.numbers, [18210, 3201, 3013], outcome.describe())
        cause = "0x80070002(The system cannot find the file specified.)"
        origin = ("BackupVirtualDeviceSet::Initialize: Open failure on backup device 'nobody'. "
                  f"Operating system error {cause}.")
        self.assertEqual(outcome.messages[0].text, origin)
        self.assertEqual(outcome.messages[1].text,
                         f"Cannot open backup device 'nobody'. Operating system error {cause}.")
        self.assertEqual(outcome.messages[1].state, 7)  # initialize virtual device
        self.assertIn("start the program that serves it", outcome.messages[1].hint)
        self.assertIn(origin, self.server.errorlog.read_text())
        self.assertLess(outcome.seconds, 10)
        self.assert_works()


class AccessDenied(unittest.TestCase):
    """S0-33, S0-54: folders that the service account may not use."""

    ACCOUNT = 65534

    def test_folders_without_rights(self) -> None:
        as_root = os.geteuid() == 0
        server = CapstanServer(user=self.ACCOUNT if as_root else None)
        self.addCleanup(server.close, self)
        server.next_database()
        for mode, right in ((0o500, "write"), (0o000, "any")):
            with self.subTest(right=f"no {right} right"):
                folder = server.media / f"closed-{mode:o}"
                folder.mkdir(mode=mode)
                if as_root:
                    os.chown(folder, self.ACCOUNT, self.ACCOUNT)
                outcome = server.backup("source", folder / "a.bak")
                self.assertEqual(outcome.numbers, [3201, 3013], outcome.describe())
                self.assertEqual(
                    outcome.messages[0].text, f"Cannot open backup device '{folder}/a.bak'. "
                    "Operating system error 5(Access is denied.).")
                self.assertIn("grant the account", outcome.messages[0].hint)
                self.assertEqual(server.journal(), [])
                folder.chmod(0o700)
                self.assertEqual(server.backup("source", folder / "a.bak").exit_code, 0)
                folder.chmod(mode)
                outcome = server.verify(folder / "a.bak")
                self.assertEqual(outcome.numbers, [3201, 3013] if mode == 0 else [],
                                 outcome.describe())
                folder.chmod(0o700)


class Restores(ServerTestCase):
    """Restores that would destroy something, or have nowhere to go."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database()
        self.medium = self.server.media / "a.bak"
        self.assert_done(self.server.backup("source", self.medium))
        self.before = self.source.read_bytes()

    def assert_refused(self, outcome: Outcome, number: int, *parts: object) -> None:
        self.assert_error(outcome, number, *parts, terminated="RESTORE DATABASE")
        self.assertEqual(self.source.read_bytes(), self.before)
        self.server.check_no_leftovers(self)
        self.assertEqual(self.server.query("SELECT * FROM msdb.dbo.restorehistory"), [])

    def test_over_an_existing_database(self) -> None:
        self.assert_refused(self.server.restore("source", self.medium), 3159, '"source"', "REPLACE")
        self.assert_works()

    def test_over_another_database(self) -> None:
        other = self.server.next_database(name="other")
        content = other.read_bytes()
        self.assert_refused(self.server.restore("other", self.medium), 3154, "'other'", "'source'")
        self.assertEqual(other.read_bytes(), content)
        self.assert_works("other")

    def test_over_the_file_of_another_database(self) -> None:
        other = self.server.next_database(name="other")
        content = other.read_bytes()
        for options in ("", ", REPLACE"):
            self.assert_refused(self.server.restore(
                "copy", self.medium, options=f"MOVE 'source' TO {quoted(other)}{options}"),
                3156, str(other), "'other'")
        self.assert_refused(self.server.restore("copy", self.medium), 3156, str(self.source))
        self.assertEqual(other.read_bytes(), content)
        self.assert_works("other")

    def test_over_a_stranger_s_file(self) -> None:
        path = self.server.db / "letter.txt"
        path.write_text("not yours", encoding="utf-8")
        self.assert_refused(self.server.restore(
            "copy", self.medium, options=f"MOVE 'source' TO {quoted(path)}"), 3156, str(path))
        self.assertEqual(path.read_text(encoding="utf-8"), "not yours")

    def test_database_in_use(self) -> None:
        with closing(sqlite3.connect(self.source, isolation_level=None)) as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM item").fetchone()
            outcome = self.server.restore("source", self.medium, options="REPLACE")
            self.assertLess(outcome.seconds, 15)
            self.assert_refused(outcome, 3101)
            db.execute("ROLLBACK")
        self.assert_done(self.server.restore("source", self.medium, options="REPLACE"))
        self.assert_works()

    def test_unknown_logical_file(self) -> None:
        self.assert_refused(self.server.restore(
            "copy", self.medium, options="MOVE 'nothing' TO '/tmp/x.db'"), 3234, "'nothing'")

    def test_missing_directory(self) -> None:
        path = self.server.db / "missing" / "copy.db"
        self.assert_refused(self.server.restore(
            "copy", self.medium, options=f"MOVE 'source' TO {quoted(path)}"), 65006,
            str(path), "2(No such file or directory)")
        self.assertEqual(self.server.journal(), [])

    def test_set_that_is_not_there(self) -> None:
        outcome = self.server.restore("copy", self.medium, options="FILE = 2")
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertIn(outcome.numbers, ([3287, 3013], [4038, 3013]), outcome.describe())

    def test_medium_that_is_not_there(self) -> None:
        path = self.server.media / "missing.bak"
        self.assert_refused(self.server.restore("copy", path), 3201, f"'{path}'",
                            "2(No such file or directory)")


class Media(ServerTestCase):
    """Media that are not what the statement says."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database()
        self.pair = [self.server.media / "1.bak", self.server.media / "2.bak"]
        self.assert_done(self.server.backup("source", *self.pair))

    def assert_bad(self, number: int, paths: list[Path], *parts: object) -> None:
        """VERIFYONLY and RESTORE both refuse, and leave nothing."""
        self.assert_error(self.server.verify(*paths), number, *parts, terminated="VERIFY DATABASE")
        copy = self.server.db / "copy.db"
        self.assert_error(
            self.server.restore("copy", *paths, options=f"MOVE 'source' TO {quoted(copy)}"),
            number, *parts, terminated="RESTORE DATABASE")
        self.assertFalse(copy.exists())
        self.server.check_no_leftovers(self)

    def test_text_file(self) -> None:
        """S0-26."""
        path = self.server.media / "text.bak"
        path.write_text("this is no medium\n" * 5000, encoding="utf-8")
        self.assert_bad(3242, [path], f"The file on device '{path}' is not a valid Microsoft Tape "
                        "Format backup set.")
        self.assert_error(self.server.exec(f"RESTORE HEADERONLY FROM {disks(path)}"), 3242,
                          str(path), terminated="RESTORE HEADERONLY")
        self.assert_works()

    def test_empty_file(self) -> None:
        path = self.server.media / "empty.bak"
        path.touch()
        self.assert_bad(3254, [path], f"'{path}'")
        self.assert_works()

    def test_another_version_of_the_format(self) -> None:
        """S0-27: the byte at 93 of TAPE lies outside of the block's own checksum."""
        path = self.server.media / "later.bak"
        self.assert_done(self.server.backup("source", path))
        content = bytearray(path.read_bytes())
        content[93] = 9
        path.write_bytes(content)
        self.assert_bad(3243, [path], f"'{path}'", "Microsoft Tape Format version 9.",
                        "supports version 1.0")
        self.assert_works()

    def test_missing_family(self) -> None:
        for path in self.pair:
            self.assert_bad(3132, [path], "2 media families but only 1 are provided")
        self.assert_works()

    def test_doubled_family(self) -> None:
        self.assert_bad(3227, [self.pair[0], self.pair[0]], str(self.pair[0]))
        twin = self.server.media / "twin.bak"
        shutil.copyfile(self.pair[1], twin)
        self.assert_bad(3227, [self.pair[1], twin], str(twin))
        self.assert_works()

    def test_families_of_two_media_sets(self) -> None:
        others = [self.server.media / "3.bak", self.server.media / "4.bak"]
        self.assert_done(self.server.backup("source", *others))
        self.assert_bad(3258, [self.pair[0], others[1]], "is not part of the media set")
        self.assert_works()

    def test_families_in_another_order(self) -> None:
        """Order carries no meaning."""
        self.assert_done(self.server.verify(*reversed(self.pair)))


if __name__ == "__main__":
    main()
